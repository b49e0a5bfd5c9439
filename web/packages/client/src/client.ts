/**
 * The client: the guide's `WebSocketClient`, extended by chats, history and sending.
 *
 * Source: guide, Step 2.3 and 2.5.
 */
import { checkUrls, findGateway, type SocketAddress } from './connection/addresses.ts';
import { type ApiOptions, RoomcastApi, type TokenSource } from './api.ts';
import { ChatList } from './chat/chat-list.ts';
import { Connection, type ConnectionSnapshot } from './connection/connection.ts';
import { NotConnectedError } from './errors.ts';
import type {
  AiChunk,
  ChatActivity,
  ChatChange,
  ChatRead,
  Message,
  Presence,
  Resync,
  Typing,
} from './generated/contract.ts';
import { Emitter } from './platform/observable.ts';
import { type GatewaySocketOptions, platformRuntime, type Runtime } from './platform/runtime.ts';
import { ChatSession } from './chat/session.ts';
import {
  type ChatEntry,
  type ChatMessage,
  ConnectionState,
  reviveLastMessage,
  reviveMessage,
  type WebSocketEvents,
} from './types.ts';
import { type KeyValueStorage, UnsentStore } from './chat/unsent-store.ts';

/** Number of unused chats whose messages are kept, so that they appear at once when the chat is opened again. */
const MAX_IDLE_CHATS = 20;
/** A chat is not evicted within this time after `chat()`, because its first subscription may still follow. */
const EVICT_AFTER_MS = 60_000;
const DEFAULT_PAGE_SIZE = 50;

/** Options of a client; all are optional. */
export interface ClientOptions {
  /**
   * URL of the API, such as `https://host/chat`, or its path on the page's origin, such as `/chat`. Default: the page's
   * origin; outside a browser `http://localhost:3000`.
   */
  apiUrl?: string;
  /**
   * URL of the gateway, or its path on the page's origin. Default: as configured in the API; without page and `apiUrl`,
   * `http://localhost:3001`.
   */
  gatewayUrl?: string;
  /** A fixed access token. */
  auth?: { token: string };
  /**
   * Returns the access token; called before each connection attempt and request, and before the token of an open
   * connection expires, so that it can renew the token.
   */
  getToken?: TokenSource;
  /** Storage for unsent messages across a reload, such as `window.localStorage`. Default: memory only. */
  storage?: KeyValueStorage | null;
  /** Messages per page of history. Default: 50. */
  pageSize?: number;
  /** Replaces the clock, the network and other side effects, for tests. */
  runtime?: Partial<Runtime>;
}

/** A client for one user at a time: one connection, any number of chats. */
export class WebSocketClient {
  /** The REST API, with this client's address and token. */
  readonly api: RoomcastApi;
  /** The chat list of the user. */
  readonly chats: ChatList;
  readonly #runtime: Runtime;
  readonly #connection: Connection;
  readonly #events = new Emitter<WebSocketEvents>();
  /** Sessions by chat id, least recently requested first. */
  readonly #sessions = new Map<string, ChatSession>();
  /** Leave functions of the chats joined by `joinChat`, by chat id. */
  readonly #joinedChats = new Map<string, () => void>();
  #options: ClientOptions = {};
  #userId: string | null = null;
  #state = ConnectionState.DISCONNECTED;
  #storageFailed = false;
  #cancelOnWake: (() => void) | null = null;
  /** The gateway's address, so that a reconnect needs no request to the API; null after a failed attempt. */
  #gateway: SocketAddress | null = null;

  constructor(options: ClientOptions = {}) {
    this.configure(options);
    this.#runtime = { ...platformRuntime, ...options.runtime };
    this.api = new RoomcastApi(() => this.#apiOptions, this.#runtime);
    this.chats = new ChatList(this.api, this.#runtime, () => this.currentUserId);
    this.#connection = new Connection(
      {
        prepare: () => this.#prepare(),
        token: () => this.api.token(),
        report: (message) => this.#events.emit('error', { message }),
      },
      this.#runtime,
    );
    this.#connection.snapshot.subscribe(() => this.#handleConnectionChange());
    this.#connection.events.on('open', () => this.#handleOpen());
    this.#connection.events.on('close', (reason) => this.#handleClose(reason));
    this.#connection.events.on('failed', (error) => {
      this.#gateway = null;
      this.#events.emit('error', error);
    });
    this.#connection.events.on('lost', (reason) => this.#events.emit('connection-lost', reason));
    this.#connection.events.on('restored', () => this.#events.emit('connection-restored'));
    this.#connection.events.on('event', (name, payload) => this.#handleEvent(name, payload));
  }

  /**
   * Changes options of an existing client, such as the guide's singleton. Later requests and connections use them.
   *
   * @throws TypeError if a URL is invalid, as does the constructor.
   */
  configure(options: Omit<ClientOptions, 'runtime' | 'storage' | 'pageSize'>): void {
    checkUrls(options);
    this.#options = { ...this.#options, ...options };
    this.#gateway = null;
  }

  // The guide's methods.

  /**
   * Connects as a user, until `disconnect`. A lost connection is reopened automatically.
   *
   * @returns Resolves when connected. Rejects with the first failure: a NetworkError, TokenError, ProblemError or
   *   RefusedError; retries continue if its `retryable` is true. Rejects with a ConnectionAbortedError after `disconnect` or after a
   *   connect as another user.
   */
  connect(userId: string): Promise<void> {
    return this.#connection.connect(userId);
  }

  /** Disconnects, even if callers of `acquire` still hold the connection, and leaves the chats of `joinChat`. */
  disconnect(): void {
    this.#leaveJoinedChats();
    this.#connection.disconnect();
  }

  /**
   * Opens a new connection now, without backoff.
   *
   * @returns As for `connect`. Rejects with a ConnectionAbortedError before `connect` and after `disconnect`.
   */
  reconnect(): Promise<void> {
    return this.#connection.reconnect();
  }

  /** Joins a chat as soon as connected, and again after each reconnect; missed messages are delivered first. */
  joinChat(chatId: string): void {
    if (!this.#joinedChats.has(chatId)) this.#joinedChats.set(chatId, this.chat(chatId).follow());
  }

  /** Leaves a chat that was joined by `joinChat`. */
  leaveChat(chatId: string): void {
    this.#joinedChats.get(chatId)?.();
    this.#joinedChats.delete(chatId);
  }

  /** @returns `'pong'`. Rejects with a NotConnectedError or an AckTimeoutError. */
  ping(): Promise<string> {
    if (!this.isConnected) return Promise.reject(new NotConnectedError());
    return this.#connection.request<string>('ping');
  }

  /**
   * Adds an event handler.
   *
   * @returns A function that removes the handler.
   */
  on<Name extends keyof WebSocketEvents>(event: Name, handler: WebSocketEvents[Name]): () => void {
    return this.#events.on(event, handler);
  }

  get connectionState(): ConnectionState {
    return this.#connection.snapshot.value.state;
  }

  get isConnected(): boolean {
    return this.connectionState === ConnectionState.CONNECTED;
  }

  /** The user of the connection or of the last attempt; null before `connect` and after `disconnect`. */
  get currentUserId(): string | null {
    return this.#connection.snapshot.value.userId;
  }

  // Beyond the guide.

  /**
   * Connects as a user and shares the connection with other callers; the last release closes the connection.
   *
   * @returns The release function; only its first call has an effect.
   */
  acquire(userId: string): () => void {
    return this.#connection.acquire(userId);
  }

  /** Calls the listener after each change of `getConnection()`. */
  readonly subscribeConnection = (listener: () => void): (() => void) => this.#connection.snapshot.subscribe(listener);

  /** The state of the connection; the same object until it changes. */
  readonly getConnection = (): ConnectionSnapshot => this.#connection.snapshot.value;

  /** The session of a chat. It is neither loaded nor joined before the first subscription. */
  chat(chatId: string): ChatSession {
    const session = this.#sessions.get(chatId) ?? this.#newSession(chatId);
    session.requestedAt = this.#runtime.clock.now();
    this.#sessions.delete(chatId);
    this.#sessions.set(chatId, session);
    this.#evictIdle();
    return session;
  }

  /** Sends a message; see `ChatSession.send`. Never rejects: the entry's `status` shows the outcome. */
  sendMessage(chatId: string, content: string): Promise<ChatEntry> {
    return this.chat(chatId).send(content);
  }

  /** Disconnects and fails the unsent messages; they remain in the storage. */
  close(): void {
    this.disconnect();
    for (const session of this.#sessions.values()) session.close();
    this.#cancelOnWake?.();
    this.#cancelOnWake = null;
  }

  /**
   * Number of messages of a user that the server has not stored yet, including failed ones: `forget` would lose them.
   */
  countUnsent(userId: string): number {
    const sessions = userId === this.#userId ? [...this.#sessions.values()] : [];
    const inMemory = sessions.flatMap(({ unsentIds }) => unsentIds);
    return new Set([...inMemory, ...(this.#unsent?.idsOf(userId) ?? [])]).size;
  }

  /**
   * Signs a user out: disconnects, discards the user's chats and messages, and removes the unsent messages from the
   * storage. Unlike `disconnect`, nothing of the user remains.
   */
  forget(userId: string): void {
    if (userId === this.#userId) {
      this.disconnect();
      for (const session of this.#sessions.values()) session.forget();
      this.chats.clear();
      this.#userId = null;
    }
    this.#unsent?.removeAll(userId);
  }

  get #unsent(): UnsentStore | null {
    return this.#options.storage ? new UnsentStore(this.#options.storage) : null;
  }

  get #apiOptions(): ApiOptions {
    const { apiUrl = null, auth, getToken = auth ? () => auth.token : null } = this.#options;
    return { apiUrl, getToken };
  }

  async #prepare(): Promise<SocketAddress & GatewaySocketOptions> {
    const { apiUrl = null, gatewayUrl = null } = this.#options;
    const [gateway, token] = await Promise.all([
      this.#gateway ?? findGateway({ apiUrl, gatewayUrl, pageOrigin: this.#runtime.pageOrigin() }, this.api),
      this.api.token(),
    ]);
    this.#gateway = gateway;
    return { ...gateway, auth: token === null ? {} : { token } };
  }

  #newSession(chatId: string): ChatSession {
    const session = new ChatSession(chatId, {
      api: this.api,
      outboxApi: {
        sendMessage: async ({ userId, ...message }) => {
          // With authentication enabled, the token identifies the user.
          const token = await this.api.token();
          return this.api.sendMessage(token === null && userId != null ? { ...message, userId } : message);
        },
      },
      connection: this.#connection,
      runtime: this.#runtime,
      pageSize: this.#options.pageSize ?? DEFAULT_PAGE_SIZE,
      unsent: this.#unsent,
      notStored: () => {
        if (!this.#storageFailed) this.#events.emit('storage-failed');
        this.#storageFailed = true;
      },
      announce: (message) => this.#announce(message),
      announceCustom: (event) => this.#events.emit('custom', event),
      report: (message) => this.#events.emit('error', { message }),
      started: (started) => {
        if (!this.#sessions.has(chatId)) this.#sessions.set(chatId, started);
        this.#listenForWake();
        started.setUser(this.currentUserId);
      },
    });
    session.setUser(this.currentUserId);
    if (this.#connection.isOpen) session.dispatch({ type: 'opened' });
    return session;
  }

  #evictIdle(): void {
    const now = this.#runtime.clock.now();
    const idle = [...this.#sessions.values()].filter((session) => session.isIdle);
    for (const session of idle.slice(0, Math.max(0, idle.length - MAX_IDLE_CHATS))) {
      if (now - session.requestedAt < EVICT_AFTER_MS) return;
      this.#sessions.delete(session.chatId);
    }
  }

  #handleConnectionChange(): void {
    const { userId, state } = this.#connection.snapshot.value;
    if (userId !== null) this.#listenForWake();
    if (userId !== null && userId !== this.#userId) {
      const isSwitch = this.#userId !== null;
      this.#userId = userId;
      if (isSwitch) {
        this.chats.clear();
        this.chats.wake();
      }
      for (const session of this.#sessions.values()) session.setUser(userId);
    }
    if (state !== this.#state) {
      this.#state = state;
      this.#events.emit('state', state);
    }
  }

  #handleOpen(): void {
    for (const session of [...this.#sessions.values()]) {
      session.dispatch({ type: 'opened' });
      session.wake();
    }
    this.chats.wake();
    this.#events.emit('connect');
  }

  #handleClose(reason: string): void {
    for (const session of [...this.#sessions.values()]) session.dispatch({ type: 'closed' });
    this.#events.emit('disconnect', reason);
  }

  /** Until `close`. Not in the constructor, because an import creates the guide's singleton. */
  #listenForWake(): void {
    this.#cancelOnWake ??= this.#runtime.onWake(() => this.#wake());
  }

  #wake(): void {
    this.#connection.wake();
    for (const session of [...this.#sessions.values()]) session.wake();
    this.chats.wake();
  }

  #handleEvent(name: string, payload: unknown): void {
    const data = isRecord(payload) ? payload : {};
    if (name === 'error') {
      this.#events.emit('error', { ...data, message: typeof data['message'] === 'string' ? data['message'] : 'error' });
      return;
    }
    const { chatId, seq, epoch } = data;
    const session = typeof chatId === 'string' ? this.#sessions.get(chatId) : undefined;
    if (name === 'chat-changed') {
      const { title, archived } = data as unknown as ChatChange;
      this.chats.change(String(chatId), { title, archived });
    } else if (name === 'chat-deleted') this.chats.drop(String(chatId));
    else if (name === 'msg-deleted' || name === 'msgs-expired') this.chats.recountSoon();
    if (name === 'presence') {
      if (isPresence(data)) session?.applyPresence(data);
      this.#events.emit(name, data as unknown as Presence);
    } else if (name === 'typing') {
      if (isTyping(data)) session?.applyTyping(data);
      this.#events.emit(name, data as unknown as Typing);
    } else if (name === 'chat-activity') {
      // Not itself a chat event: `seq` is the seq of the chat's latest event, which joined chats receive separately.
      const activity = data as unknown as ChatActivity;
      const { time, lastMessage } = activity;
      this.chats.touch({ ...activity, time: new Date(time), lastMessage: reviveLastMessage(lastMessage) });
      this.#events.emit(name, activity);
    } else if (name === 'chat-read') {
      if (isRead(data)) this.chats.applyRead(data);
      this.#events.emit(name, data as unknown as ChatRead);
    } else if (name === 'resync') {
      session?.dispatch({ type: 'resync', resync: data as unknown as Resync });
    } else if (name === 'ai-chunk') {
      if (isChunk(data)) session?.receiveChunks(data);
    } else if (session?.isActive && typeof seq === 'number' && typeof epoch === 'string') {
      session.receive({ seq, epoch, event: name, data });
    } else if (name === 'new-msg') {
      // The message has no seq (the guide's server sends none), or its chat is not joined.
      const message = reviveMessage(data as unknown as Message);
      if (session?.isActive && isPublished(message) && !session.receivePublished(message)) return;
      this.#announce(message);
    }
  }

  #announce(message: ChatMessage): void {
    this.#events.emit('new-msg', message);
    const { chatId, epoch, seq, role, userId = null, time, content, attachments } = message;
    // The guide's server sends no position.
    if (chatId === undefined || epoch === undefined || seq == null) return;
    const lastMessage = { epoch, seq, userId: role === 'USER' ? userId : null, time };
    this.chats.touch({ chatId, seq, time, lastMessage, content, file: attachments?.[0]?.name ?? null });
  }

  #leaveJoinedChats(): void {
    for (const leave of this.#joinedChats.values()) leave();
    this.#joinedChats.clear();
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

// Another server may use these event names with other payloads. Such events are emitted but not applied.

function isPublished({ id, role, content, time, userId = null }: Partial<ChatMessage>): boolean {
  const texts = [id, content, userId ?? ''].every((text) => typeof text === 'string');
  return texts && (role === 'USER' || role === 'AI') && !Number.isNaN(time?.getTime());
}

function isPresence(data: object): data is Presence {
  const { online, offline } = data as Partial<Presence>;
  return isStringArray(online) && isStringArray(offline);
}

function isTyping(data: object): data is Typing {
  return typeof (data as Partial<Typing>).userId === 'string';
}

function isRead(data: object): data is ChatRead {
  const { chatId, userId, seq } = data as Partial<ChatRead>;
  return typeof chatId === 'string' && typeof userId === 'string' && Number.isInteger(seq);
}

function isChunk(data: object): data is AiChunk {
  const { turnId, generation = 1, first, last, chunks } = data as Partial<AiChunk>;
  return (
    typeof turnId === 'string' &&
    [generation, first, last].every(Number.isInteger) &&
    Array.isArray(chunks) &&
    chunks.every(isRecord)
  );
}

function isStringArray(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

/** Creates a client, independent of the guide's singleton. */
export function createClient(options: ClientOptions = {}): WebSocketClient {
  return new WebSocketClient(options);
}

/** The guide's singleton; `configure` sets its options. */
export const websocketClient: WebSocketClient = /* @__PURE__ */ new WebSocketClient();

/** The guide's convenience object around `websocketClient`. */
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
