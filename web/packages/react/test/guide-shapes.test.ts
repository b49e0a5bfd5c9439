/** The guide's signatures as type tests: a program written for the guide compiles. */
import { expectTypeOf, test } from 'vitest';
import type { ConnectionState } from '../src/index.ts';
import {
  type ChatMessage,
  type useChatWebSocket,
  type useWebSocket,
  type websocket,
  type WebSocketClient,
  type WebSocketEmitEvents,
  type WebSocketEvents,
} from '../src/index.ts';

test('types.ts', () => {
  expectTypeOf<`${ConnectionState}`>().toEqualTypeOf<'disconnected' | 'connecting' | 'connected' | 'reconnecting'>();
  // A program constructs messages with the guide's four members only.
  expectTypeOf<{ id: string; role: 'USER' | 'AI'; content: string; time: Date }>().toExtend<ChatMessage>();
  expectTypeOf<WebSocketEvents['new-msg']>().toEqualTypeOf<(msg: ChatMessage) => void>();
  expectTypeOf<WebSocketEvents['disconnect']>().toEqualTypeOf<(reason: string) => void>();
  expectTypeOf<WebSocketEvents['error']>().toEqualTypeOf<(error: { message: string }) => void>();
  expectTypeOf<keyof WebSocketEmitEvents>().toEqualTypeOf<'join-user' | 'join-chat' | 'ping'>();
});

test('client.ts', () => {
  expectTypeOf<WebSocketClient['connect']>().toEqualTypeOf<(userId: string) => Promise<void>>();
  expectTypeOf<WebSocketClient['disconnect']>().toEqualTypeOf<() => void>();
  expectTypeOf<WebSocketClient['reconnect']>().toEqualTypeOf<() => Promise<void>>();
  expectTypeOf<WebSocketClient['joinChat']>().toEqualTypeOf<(chatId: string) => void>();
  expectTypeOf<WebSocketClient['ping']>().toEqualTypeOf<() => Promise<string>>();
  expectTypeOf<WebSocketClient['on']>().toBeCallableWith(
    'new-msg',
    (message: ChatMessage) => void message.time.getTime(),
  );
  expectTypeOf<WebSocketClient['connectionState']>().toEqualTypeOf<ConnectionState>();
  expectTypeOf<WebSocketClient['isConnected']>().toEqualTypeOf<boolean>();
  expectTypeOf<WebSocketClient['currentUserId']>().toEqualTypeOf<string | null>();
  expectTypeOf<[]>().toExtend<ConstructorParameters<typeof WebSocketClient>>();
});

test('index.ts and hooks.ts', () => {
  type Convenience = 'connect' | 'disconnect' | 'joinChat' | 'ping' | 'on' | 'isConnected' | 'connectionState';
  expectTypeOf<keyof typeof websocket>().toEqualTypeOf<Convenience>();
  type Hook = 'connectionState' | 'isConnected' | 'reconnect' | 'joinChat' | 'ping' | 'on';
  expectTypeOf<keyof ReturnType<typeof useWebSocket>>().toEqualTypeOf<Hook>();
  expectTypeOf<keyof ReturnType<typeof useChatWebSocket>>().toEqualTypeOf<
    Exclude<Hook, 'joinChat'> | 'useMessageListener'
  >();
  expectTypeOf<[string?, string?]>().toExtend<Parameters<typeof useChatWebSocket>>();
});
