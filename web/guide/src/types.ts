export enum ConnectionState {
  DISCONNECTED = 'disconnected',
  CONNECTING = 'connecting',
  CONNECTED = 'connected',
  RECONNECTING = 'reconnecting'
}

export interface ChatMessage {
  id: string;
  role: 'USER' | 'AI';
  content: string;
  time: Date;
}

export interface WebSocketEvents {
  'connect': () => void;
  'disconnect': (reason: string) => void;
  'new-msg': (msg: ChatMessage) => void;
  'error': (error: { message: string }) => void;
}

export interface WebSocketEmitEvents {
  'join-user': (userId: string) => void;
  'join-chat': (chatId: string) => void;
  'ping': (callback?: (response: string) => void) => void;
}
