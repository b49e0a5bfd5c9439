/**
 * The client: the guide's `WebSocketClient`, with chats, history and sending behind it.
 *
 * Source: guide, Step 2.3 and 2.5.
 */
import { RoomcastApi, type TokenSource } from './api.ts';
import { ChatList } from './chat-list.ts';
import { Connection, type ConnectionSnapshot } from './connection.ts';
import { NotConnectedError } from './errors.ts';
import { findGateway } from './gateway-address.ts';
import type { ChatActivity, Message, Presence, Resync, Typing } from './generated/contract.ts';
import { Emitter } from './observable.ts';
import { platformRuntime, type Runtime } from './runtime.ts';
import { ChatSession } from './session.ts';
import { type ChatEntry, type ChatMessage, ConnectionState, reviveMessage, type WebSocketEvents } from './types.ts';
import { type KeyValueStorage, UnsentStore } from './unsent-store.ts';

/** Chats that were shown and may be shown again: their messages are kept, so that going back is instant. */
const MAX_IDLE_CHATS = 20;
const IDLE_AFTER_MS = 60_000;
const DEFAULT_PAGE_SIZE = 50;

export interface ClientOptions {
  /** Base URL of the API. Default: the page's origin; outside of a browser the guide's `http://localhost:3000`. */
  apiUrl?: string;
  /** URL of the gateway. Default: what the API says; outside of a browser the guide's `http://localhost:3001`. */
  gatewayUrl?: string;
  /** A fixed token. */
  auth?: { token: string };
  /** Asked before each connection and request, so that it may renew the token. */
  getToken?: TokenSource;
  /** Keeps unsent messages across a reload, such as `window.localStorage`. Default: they are kept in memory. */
  storage?: KeyValueStorage | null;
  /** Messages in a page of history. */
  pageSize?: number;
  /** Replaces parts of the surroundings, for tests. */
  runtime?: Partial<Runtime>;
}

export class WebSocketClient {
  /** The REST API. */
  readonly api: RoomcastApi;
  /** The list of chats. */
  readonly chats: ChatList;
  readonly #runtime: Runtime;
  readonly #connection: Connection;
  readonly #events = new Emitter<WebSocketEvents>();
  /** By chat id, the one asked for last at the end. */
  readonly #sessions = new Map<string, ChatSession>();
  readonly #rooms = new Map<string, () => void>();
  #options: ClientOptions = {};
  #userId: string | null = null;
  #state = ConnectionState.DISCONNECTED;
  #stopWaking: (() => void) | null = null;

  constructor(options: ClientOptions = {}) {
    this.#options = options;
    this.#runtime = { ...platformRuntime, ...options.runtime };
    this.api = new RoomcastApi(() => this.#address, this.#runtime);
    this.chats = new ChatList(this.api, this.#runtime);
    this.#connection = new Connection({ prepare: () => this.#prepare() }, this.#runtime);
    this.#connection.snapshot.subscribe(() => this.#followSnapshot());
    this.#connection.events.on('open', () => this.#opened());
    this.#connection.events.on('close', (reason) => this.#closed(reason));
    this.#connection.events.on('failed', (error) => this.#events.emit('error', error));
    this.#connection.events.on('lost', (reason) => this.#events.emit('connection-lost', reason));
    this.#connection.events.on('restored', () => this.#events.emit('connection-restored'));
    this.#connection.events.on('event', (name, payload) => this.#route(name, payload));
  }

  /** Changes options of a client that is made already, such as the guide's singleton. They hold from the next use on. */
  configure(options: Omit<ClientOptions, 'runtime' | 'storage' | 'pageSize'>): void {
    this.#options = { ...this.#options, ...options };
  }

  // The guide's methods.

  /**
   * Connects as a user, until `disconnect`. Lost connections are opened again.
   *
   * @returns settles once: when connected, or with the first failure; attempts then go on, unless access was refused
   */
  connect(userId: string): Promise<void> {
    return this.#connection.connect(userId);
  }

  /** Disconnects, whoever holds the connection, and leaves the rooms of `joinChat`. */
  disconnect(): void {
    this.#leaveRooms();
    this.#connection.disconnect();
  }

  reconnect(): Promise<void> {
    return this.#connection.reconnect();
  }

  /** Joins a chat as soon as there is a connection, and again after each reconnect, without a gap. */
  joinChat(chatId: string): void {
    if (!this.#rooms.has(chatId)) this.#rooms.set(chatId, this.chat(chatId).follow());
  }

  leaveChat(chatId: string): void {
    this.#rooms.get(chatId)?.();
    this.#rooms.delete(chatId);
  }

  /** @throws NotConnectedError, AckTimeoutError */
  ping(): Promise<string> {
    if (!this.isConnected) return Promise.reject(new NotConnectedError());
    return this.#connection.request<string>('ping');
  }

  /** @returns ends the listening */
  on<Name extends keyof WebSocketEvents>(event: Name, handler: WebSocketEvents[Name]): () => void {
    return this.#events.on(event, handler);
  }

  get connectionState(): ConnectionState {
    return this.#connection.snapshot.value.state;
  }

  get isConnected(): boolean {
    return this.connectionState === ConnectionState.CONNECTED;
  }

  get currentUserId(): string | null {
    return this.#connection.snapshot.value.userId;
  }

  // Beyond the guide.

  /** Holds the connection as one of several users of it; the last one that lets go closes it. */
  acquire(userId: string): () => void {
    return this.#connection.acquire(userId);
  }

  /** Hears of each change of `getConnection()`. */
  readonly subscribeConnection = (listener: () => void): (() => void) => this.#connection.snapshot.subscribe(listener);

  /** State of the connection; the same object until it changes. */
  readonly getConnection = (): ConnectionSnapshot => this.#connection.snapshot.value;

  /** One chat; it stays quiet until somebody subscribes to it. */
  chat(chatId: string): ChatSession {
    const session = this.#sessions.get(chatId) ?? this.#newSession(chatId);
    session.askedAt = this.#runtime.clock.now();
    this.#sessions.delete(chatId);
    this.#sessions.set(chatId, session);
    this.#forgetIdle();
    return session;
  }

  /** Sends a message. Never rejects: see the entry's `status`. */
  sendMessage(chatId: string, content: string): Promise<ChatEntry> {
    return this.chat(chatId).send(content);
  }

  /** Disconnects and gives up what is unsent. */
  close(): void {
    this.disconnect();
    for (const session of this.#sessions.values()) session.close();
    this.#stopWaking?.();
    this.#stopWaking = null;
  }

  get #getToken(): TokenSource | null {
    const { auth, getToken } = this.#options;
    return getToken ?? (auth ? () => auth.token : null);
  }

  get #address(): { apiUrl: string | null; getToken: TokenSource | null } {
    return { apiUrl: this.#options.apiUrl ?? null, getToken: this.#getToken };
  }

  async #prepare(): Promise<{ url: string; auth: Record<string, unknown> }> {
    const { apiUrl = null, gatewayUrl = null } = this.#options;
    const [url, token] = await Promise.all([
      findGateway({ apiUrl, gatewayUrl, pageOrigin: this.#runtime.pageOrigin() }, this.api),
      this.#getToken?.() ?? null,
    ]);
    return { url, auth: token === null ? {} : { token } };
  }

  #newSession(chatId: string): ChatSession {
    const session = new ChatSession(chatId, {
      api: {
        listMessages: (id, page) => this.api.listMessages(id, page),
        listEvents: (id, page) => this.api.listEvents(id, page),
        sendMessage: async ({ userId, ...message }) => {
          // With authentication on, the token says who speaks.
          const token = (await this.#getToken?.()) ?? null;
          return this.api.sendMessage(token === null && userId != null ? { ...message, userId } : message);
        },
      },
      connection: this.#connection,
      runtime: this.#runtime,
      pageSize: this.#options.pageSize ?? DEFAULT_PAGE_SIZE,
      unsent: this.#options.storage ? new UnsentStore(this.#options.storage) : null,
      announce: (message) => this.#announce(message),
      report: (message) => this.#events.emit('error', { message }),
      started: (started) => {
        if (!this.#sessions.has(chatId)) this.#sessions.set(chatId, started);
        this.#stopWaking ??= this.#runtime.onWake(() => this.#wake());
        started.setUser(this.currentUserId);
      },
    });
    session.setUser(this.currentUserId);
    if (this.#connection.isOpen) session.input({ type: 'opened' });
    return session;
  }

  #forgetIdle(): void {
    const now = this.#runtime.clock.now();
    const idle = [...this.#sessions.values()].filter((session) => session.isIdle);
    for (const session of idle.slice(0, Math.max(0, idle.length - MAX_IDLE_CHATS))) {
      // Asked for just now, perhaps by a render whose subscription is still to come.
      if (now - session.askedAt < IDLE_AFTER_MS) return;
      this.#sessions.delete(session.chatId);
    }
  }

  #followSnapshot(): void {
    const { userId, state } = this.#connection.snapshot.value;
    if (userId !== null && userId !== this.#userId) {
      const isSwitch = this.#userId !== null;
      this.#userId = userId;
      if (isSwitch) this.chats.clear();
      for (const session of this.#sessions.values()) session.setUser(userId);
    }
    if (state !== this.#state) {
      this.#state = state;
      this.#events.emit('state', state);
    }
  }

  #opened(): void {
    for (const session of [...this.#sessions.values()]) {
      session.input({ type: 'opened' });
      session.wake();
    }
    this.chats.wake();
    this.#events.emit('connect');
  }

  #closed(reason: string): void {
    for (const session of [...this.#sessions.values()]) session.input({ type: 'closed' });
    this.#events.emit('disconnect', reason);
  }

  #wake(): void {
    for (const session of [...this.#sessions.values()]) session.wake();
    this.chats.wake();
  }

  #route(name: string, payload: unknown): void {
    const data = isRecord(payload) ? payload : {};
    if (name === 'error') {
      this.#events.emit('error', { ...data, message: typeof data['message'] === 'string' ? data['message'] : 'error' });
      return;
    }
    const { chatId, seq, epoch } = data;
    const session = typeof chatId === 'string' ? this.#sessions.get(chatId) : undefined;
    if (name === 'presence') {
      if (isPresence(data)) session?.takePresence(data);
      this.#events.emit(name, data as unknown as Presence);
    } else if (name === 'typing') {
      if (isTyping(data)) session?.takeTyping(data);
      this.#events.emit(name, data as unknown as Typing);
    } else if (name === 'chat-activity') {
      // Its seq is a place in the chat, not its own: the event there comes to those who follow.
      const activity = data as unknown as ChatActivity;
      this.chats.touch({ ...activity, time: new Date(activity.time) });
      this.#events.emit(name, activity);
    } else if (name === 'resync') {
      session?.input({ type: 'resync', resync: data as unknown as Resync });
    } else if (session?.isActive && typeof seq === 'number' && typeof epoch === 'string') {
      session.input({ type: 'live', event: { seq, epoch, event: name, data } });
    } else if (name === 'new-msg') {
      // Published by another program in the guide's way, or for a room that we did not join: handed on as it is.
      this.#announce(reviveMessage(data as unknown as Message));
    }
  }

  #announce(message: ChatMessage): void {
    this.#events.emit('new-msg', message);
    this.chats.touch(message);
  }

  #leaveRooms(): void {
    for (const leave of this.#rooms.values()) leave();
    this.#rooms.clear();
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

// A server that is not ours may use these names for something else; that is handed on, and no more.

function isPresence(data: object): data is Presence {
  const { online, offline } = data as Partial<Presence>;
  return isTexts(online) && isTexts(offline);
}

function isTyping(data: object): data is Typing {
  return typeof (data as Partial<Typing>).userId === 'string';
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

/** A client of one's own, beside or instead of the guide's singleton. */
export function createClient(options: ClientOptions = {}): WebSocketClient {
  return new WebSocketClient(options);
}

/** The guide's singleton; `configure` tells it what it cannot know. */
export const websocketClient: WebSocketClient = /* @__PURE__ */ new WebSocketClient();

/** The guide's convenience object. */
export const websocket = {
  connect: (userId: string): Promise<void> => websocketClient.connect(userId),
  disconnect: (): void => websocketClient.disconnect(),
  joinChat: (chatId: string): void => websocketClient.joinChat(chatId),
  ping: (): Promise<string> => websocketClient.ping(),
  on: <Name extends keyof WebSocketEvents>(event: Name, handler: WebSocketEvents[Name]): (() => void) =>
    websocketClient.on(event, handler),

  get isConnected(): boolean {
    return websocketClient.isConnected;
  },
  get connectionState(): ConnectionState {
    return websocketClient.connectionState;
  },
};
