import { useEffect, useRef } from 'react';
import { websocketClient } from './index';
import type { ConnectionState, ChatMessage } from './types';

export function useWebSocket(userId?: string) {
  const userIdRef = useRef<string | null>(null);

  useEffect(() => {
    if (!userId) return;
    if (userIdRef.current === userId && websocketClient.isConnected) return;

    userIdRef.current = userId;
    websocketClient.connect(userId).catch(console.error);

    return () => {
      websocketClient.disconnect();
      userIdRef.current = null;
    };
  }, [userId]);

  return {
    connectionState: websocketClient.connectionState,
    isConnected: websocketClient.isConnected,
    reconnect: () => websocketClient.reconnect(),
    joinChat: (chatId: string) => websocketClient.joinChat(chatId),
    ping: () => websocketClient.ping(),
    on: (event: string, handler: Function) => websocketClient.on(event as any, handler as any)
  };
}

export function useChatWebSocket(userId?: string, chatId?: string) {
  const { joinChat, ...websocket } = useWebSocket(userId);

  useEffect(() => {
    if (chatId && websocket.isConnected) {
      joinChat(chatId);
    }
  }, [chatId, websocket.isConnected, joinChat]);

  const useMessageListener = (handler: (message: ChatMessage) => void) => {
    useEffect(() => {
      const unsubscribe = websocket.on('new-msg', handler);
      return unsubscribe;
    }, [handler]);
  };

  return {
    ...websocket,
    useMessageListener
  };
}
