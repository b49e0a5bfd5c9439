/**
 * The guide's hooks, with its call shapes.
 *
 * Source: guide, Step 2.4. Here the state renders, two components share one connection, and handlers may be inline.
 */
import type { ChatMessage, ConnectionState, WebSocketClient, WebSocketEvents } from '@roomcast/client';
import { useEffect, useMemo } from 'react';
import { useHeldConnection, useRoomcastClient } from './provider.ts';
import { useConnectionState } from './use-connection.ts';
import { useMessageListener } from './use-message-listener.ts';

type On = <Name extends keyof WebSocketEvents>(event: Name, handler: WebSocketEvents[Name]) => () => void;

export interface UseWebSocketResult {
  connectionState: ConnectionState;
  isConnected: boolean;
  reconnect: () => Promise<void>;
  joinChat: (chatId: string) => void;
  ping: () => Promise<string>;
  on: On;
}

export interface UseChatWebSocketResult extends Omit<UseWebSocketResult, 'joinChat'> {
  /** A hook: calls the handler of the last render with each new message. */
  useMessageListener: (handler: (message: ChatMessage) => void) => void;
}

/** Connects as a user while mounted. */
export function useWebSocket(userId?: string | null): UseWebSocketResult {
  const client = useRoomcastClient();
  useHeldConnection(client, userId);
  const connectionState = useConnectionState();
  const methods = useMemo(() => methodsOf(client), [client]);
  return { connectionState, isConnected: client.isConnected, ...methods };
}

/** Connects as a user and joins a chat while mounted. */
export function useChatWebSocket(userId?: string | null, chatId?: string | null): UseChatWebSocketResult {
  const client = useRoomcastClient();
  const { connectionState, isConnected, reconnect, ping, on } = useWebSocket(userId);
  // Followed, not `joinChat`: that one lasts, and here the chat is left with the component.
  useEffect(() => (chatId ? client.chat(chatId).follow() : undefined), [client, chatId]);
  return { connectionState, isConnected, reconnect, ping, on, useMessageListener };
}

function methodsOf(client: WebSocketClient): Pick<UseWebSocketResult, 'reconnect' | 'joinChat' | 'ping' | 'on'> {
  return {
    reconnect: () => client.reconnect(),
    joinChat: (chatId) => client.joinChat(chatId),
    ping: () => client.ping(),
    on: (event, handler) => client.on(event, handler),
  };
}
