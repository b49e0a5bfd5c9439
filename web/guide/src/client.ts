import { io, Socket } from 'socket.io-client';
import { ConnectionState, type WebSocketEvents, type WebSocketEmitEvents } from './types';

export class WebSocketClient {
  private socket: Socket<WebSocketEvents, WebSocketEmitEvents> | null = null;
  private state: ConnectionState = ConnectionState.DISCONNECTED;
  private userId: string | null = null;
  private eventHandlers: Map<string, Function[]> = new Map();

  private getWebSocketUrl(): string {
    if (typeof window === 'undefined') {
      return 'http://localhost:3001';
    }
    return process.env.NODE_ENV === 'production'
      ? `${window.location.protocol}//${window.location.hostname}:3001`
      : 'http://localhost:3001';
  }

  async connect(userId: string): Promise<void> {
    if (this.state === ConnectionState.CONNECTED && this.userId === userId) {
      return; // 已連接到相同用戶
    }

    // 清理現有連接
    if (this.socket) {
      this.socket.removeAllListeners();
      this.socket.disconnect();
    }

    this.setState(ConnectionState.CONNECTING);
    this.userId = userId;

    return new Promise((resolve, reject) => {
      this.socket = io(this.getWebSocketUrl(), {
        transports: ['websocket', 'polling'],
        timeout: 10000,
        forceNew: true
      });

      this.socket.on('connect', () => {
        this.setState(ConnectionState.CONNECTED);
        this.socket!.emit('join-user', userId);
        this.emit('connect');
        resolve();
      });

      this.socket.on('connect_error', (error) => {
        this.setState(ConnectionState.DISCONNECTED);
        this.emit('error', error);
        reject(error);
      });

      this.socket.on('disconnect', (reason) => {
        this.setState(ConnectionState.DISCONNECTED);
        this.emit('disconnect', reason);

        // 自動重連
        if (reason !== 'io client disconnect') {
          setTimeout(() => this.reconnect(), 2000);
        }
      });

      // 設置業務事件監聽
      this.socket.on('new-msg', (msg) => this.emit('new-msg', msg));
      this.socket.on('error', (error) => this.emit('error', error));
    });
  }

  disconnect(): void {
    if (this.socket) {
      this.socket.removeAllListeners();
      this.socket.disconnect();
      this.socket = null;
    }
    this.setState(ConnectionState.DISCONNECTED);
    this.userId = null;
  }

  async reconnect(): Promise<void> {
    if (!this.userId) throw new Error('No userId available for reconnection');
    return this.connect(this.userId);
  }

  joinChat(chatId: string): void {
    if (this.socket?.connected) {
      this.socket.emit('join-chat', chatId);
    }
  }

  ping(): Promise<string> {
    return new Promise((resolve, reject) => {
      if (!this.socket?.connected) {
        reject(new Error('Socket not connected'));
        return;
      }
      this.socket.emit('ping', (response) => resolve(response));
    });
  }

  // 事件系統
  on<T extends keyof WebSocketEvents>(event: T, handler: WebSocketEvents[T]): () => void {
    if (!this.eventHandlers.has(event)) {
      this.eventHandlers.set(event, []);
    }
    this.eventHandlers.get(event)!.push(handler);

    return () => {
      const handlers = this.eventHandlers.get(event);
      if (handlers) {
        const index = handlers.indexOf(handler);
        if (index !== -1) handlers.splice(index, 1);
      }
    };
  }

  private emit<T extends keyof WebSocketEvents>(event: T, ...args: Parameters<WebSocketEvents[T]>): void {
    const handlers = this.eventHandlers.get(event);
    if (handlers) {
      handlers.forEach(handler => {
        try {
          (handler as any)(...args);
        } catch (error) {
          console.error(`Event handler error for ${event}:`, error);
        }
      });
    }
  }

  private setState(newState: ConnectionState): void {
    this.state = newState;
  }

  get connectionState(): ConnectionState { return this.state; }
  get isConnected(): boolean { return this.state === ConnectionState.CONNECTED; }
  get currentUserId(): string | null { return this.userId; }
}
