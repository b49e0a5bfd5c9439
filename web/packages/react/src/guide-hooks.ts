/**
 * The guide's hooks, with its signatures.
 *
 * Source: guide, Step 2.4. In contrast to the guide's hooks, a state change causes a render, components share one
 * connection, and handlers may be inline functions.
 */
import type { ChatMessage, ConnectionState, WebSocketClient, WebSocketEvents } from '@roomcast/client';
import { useEffect, useMemo } from 'react';
import { useHeldConnection, useRoomcastClient } from './provider.ts';
import { useConnectionState } from './use-connection.ts';
import { useMessageListener } from './use-message-listener.ts';

type On = <Name extends keyof WebSocketEvents>(event: Name, handler: WebSocketEvents[Name]) => () => void;

/** Result of `useWebSocket`; the functions call the client, and keep their identity between renders. */
export interface UseWebSocketResult {
  connectionState: ConnectionState;
  isConnected: boolean;
  reconnect: () => Promise<void>;
  joinChat: (chatId: string) => void;
  ping: () => Promise<string>;
  on: On;
}

/** Result of `useChatWebSocket`. */
export interface UseChatWebSocketResult extends Omit<UseWebSocketResult, 'joinChat'> {
  /** A hook that calls the latest handler for each new message of all joined chats. */
  useMessageListener: (handler: (message: ChatMessage) => void) => void;
}

/**
 * Connects as a user while mounted.
 *
 * @param userId - If null or undefined, the hook does not connect.
 */
export function useWebSocket(userId?: string | null): UseWebSocketResult {
  const client = useRoomcastClient();
  useHeldConnection(client, userId);
  const connectionState = useConnectionState();
  const methods = useMemo(() => methodsOf(client), [client]);
  return { connectionState, isConnected: client.isConnected, ...methods };
}

/**
 * Connects as a user and joins a chat while mounted.
 *
 * @param chatId - If null or undefined, the hook joins no chat.
 */
export function useChatWebSocket(userId?: string | null, chatId?: string | null): UseChatWebSocketResult {
  const client = useRoomcastClient();
  const { connectionState, isConnected, reconnect, ping, on } = useWebSocket(userId);
  // `follow`, because a chat joined by `joinChat` would stay joined after the component unmounts.
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
