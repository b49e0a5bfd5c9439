import { WebSocketClient } from './client';

// 全域客戶端單例
export const websocketClient = new WebSocketClient();

// 重新匯出所有內容
export * from './types';
export * from './client';
export * from './hooks';

// 便捷方法
export const websocket = {
  connect: (userId: string) => websocketClient.connect(userId),
  disconnect: () => websocketClient.disconnect(),
  joinChat: (chatId: string) => websocketClient.joinChat(chatId),
  ping: () => websocketClient.ping(),
  on: (event: string, handler: Function) => websocketClient.on(event as any, handler as any),

  get isConnected() { return websocketClient.isConnected; },
  get connectionState() { return websocketClient.connectionState; }
};
