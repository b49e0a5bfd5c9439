/**
 * In-memory Roomcast server: the log of each chat, its REST API, and a gateway with a faulty network.
 *
 * It follows the contract, epochs included, so that a test can compare the state of a client with `contents`.
 */
import type { ChatEvent, Cursor, JoinChatAck, Message } from '../../src/generated/contract.ts';
import type { GatewaySocket, GatewaySocketOptions, Runtime, TimerHandle } from '../../src/runtime.ts';
import { FakeClock } from './fake-clock.ts';

type Handler = (...args: never[]) => void;

/** Delivers, drops, delays or repeats an event for one socket. */
export type Delivery = (socket: FakeSocket, event: string, payload: unknown) => void;

export class FakeServer {
  readonly clock = new FakeClock();
  readonly sockets: FakeSocket[] = [];
  readonly requests: { method: string; path: string; body: unknown; headers: Headers }[] = [];
  /** Responds in place of the API, unless it returns undefined. */
  intercept: (method: string, url: URL, body: unknown) => Response | Promise<Response> | undefined = () => undefined;
  /** Outcome of the next connections: null accepts them; else they fail or are rejected. */
  connectionFault: null | 'unreachable' | { message: string; data?: { code: string } } = null;
  /** Replaces the ack of a join; a result of null sends no ack. */
  joinAck: ((chatId: string, since: Cursor | null) => unknown) | null = null;
  deliver: Delivery = (socket, event, payload) => socket.receive(event, payload);
  /** Maximum number of events that a join replays; with more, its ack has `recovered: false`. */
  replayLimit = 100;
  wake: () => void = () => undefined;
  #epoch = 1;
  #chats = new Map<string, { events: ChatEvent[]; epochs: number[] }>();
  #firstEpoch = 1;
  #ids = 0;

  get epoch(): string {
    return `e${this.#epoch}`;
  }

  get runtime(): Partial<Runtime> {
    return {
      clock: this.clock,
      random: () => 0.5,
      newId: () => `id-${(this.#ids += 1)}`,
      createSocket: (url, options) => new FakeSocket(this, url, options),
      fetch: (input, init) => this.#fetch(new URL(input as string), init ?? {}),
      onWake: (callback) => {
        this.wake = callback;
        return () => undefined;
      },
      pageOrigin: () => 'http://page.test',
    };
  }

  get socket(): FakeSocket {
    const last = this.sockets.at(-1);
    if (!last) throw new Error('no client has connected');
    return last;
  }

  /** Contents of the messages of a chat, in order. */
  contents(chatId: string): string[] {
    return this.#chat(chatId).events.flatMap(({ event, data }) =>
      event === 'new-msg' ? [data['content'] as string] : [],
    );
  }

  head(chatId: string): number {
    return this.#chat(chatId).events.length;
  }

  /** Stores a message and sends it to the room; a repeated `clientMsgId` returns the stored one. */
  post(chatId: string, content: string, more: Partial<Message> = {}): Message {
    const chat = this.#chat(chatId);
    const stored = chat.events.find(({ data }) => more.clientMsgId != null && data['clientMsgId'] === more.clientMsgId);
    if (stored) return stored.data as unknown as Message;
    const seq = chat.events.length + 1;
    const message: Message = {
      id: `${chatId}-${this.epoch}-${seq}`,
      role: 'USER',
      content,
      time: new Date(Date.UTC(2026, 0, 1) + seq * 1_000).toISOString(),
      chatId,
      epoch: this.epoch,
      seq,
      place: seq,
      version: 1,
      userId: null,
      clientMsgId: null,
      status: 'sent',
      turn: null,
      parts: null,
      ...more,
    };
    this.#store(chatId, 'new-msg', message);
    return message;
  }

  /** Sends an ephemeral event to the room: `typing` or `presence`. */
  sendToRoom(chatId: string, event: string, data: object): void {
    for (const socket of this.sockets) if (socket.rooms.has(chatId)) this.deliver(socket, event, { chatId, ...data });
  }

  /** Sends `chat-activity` of a chat to all sockets. */
  sendActivity(chatId: string, seq = this.head(chatId)): void {
    const message = { epoch: this.epoch, seq, userId: null, time: new Date(Date.UTC(2026, 1, 1)).toISOString() };
    const activity = { chatId, ...message, lastMessage: message };
    for (const socket of this.sockets) this.deliver(socket, 'chat-activity', activity);
  }

  /** Stores an event of a type that the client does not know. */
  postUnknown(chatId: string): void {
    this.#store(chatId, 'msg-starred', { chatId, epoch: this.epoch, seq: this.head(chatId) + 1 });
  }

  #store(chatId: string, event: string, data: object): void {
    const chat = this.#chat(chatId);
    chat.events.push({ seq: chat.events.length + 1, type: event, event, data: { ...data } });
    chat.epochs.push(this.#epoch);
    for (const socket of this.sockets) if (socket.rooms.has(chatId)) this.deliver(socket, event, data);
  }

  /** A restart: a new epoch of the same history. */
  restart(): void {
    this.#epoch += 1;
    this.cut();
  }

  /** Restores an older copy: only the first `keep` events of each chat remain. */
  restore(keep: number): void {
    for (const chat of this.#chats.values()) {
      chat.events = chat.events.slice(0, keep);
      chat.epochs = chat.epochs.slice(0, keep);
    }
    const oldest = Math.max(0, ...[...this.#chats.values()].flatMap(({ epochs }) => epochs));
    // The copy does not know the epochs after its creation.
    this.#lostEpochs.push([oldest + 1, this.#epoch]);
    this.#epoch += 1;
    this.cut();
  }

  readonly #lostEpochs: [number, number][] = [];

  /** Closes all connections. */
  cut(reason = 'transport close'): void {
    for (const socket of this.sockets) socket.drop(reason);
  }

  belongs(chatId: string, { epoch, seq }: Cursor): boolean {
    const number = Number(epoch.slice(1));
    const isKnown =
      number >= this.#firstEpoch &&
      number <= this.#epoch &&
      !this.#lostEpochs.some(([a, b]) => number >= a && number <= b);
    const written = this.#chat(chatId).epochs[seq - 1];
    return isKnown && (seq === 0 || (written !== undefined && written <= number));
  }

  join(socket: FakeSocket, payload: unknown): unknown {
    const { chatId, since = null } = (typeof payload === 'string' ? { chatId: payload } : payload) as {
      chatId: string;
      since?: Cursor | null;
    };
    const replaced = this.joinAck?.(chatId, since);
    if (replaced !== undefined) return replaced;
    const { events } = this.#chat(chatId);
    const ack: JoinChatAck = { ok: true, chatId, epoch: this.epoch, seq: events.length, recovered: true };
    if (since !== null && !this.belongs(chatId, since)) {
      ack.recovered = false;
      ack.reset = true;
    } else if (since !== null && events.length - since.seq > this.replayLimit) {
      ack.recovered = false;
    } else if (since !== null) {
      for (const { event, data } of events.slice(since.seq)) socket.receive(event, data);
    }
    socket.rooms.add(chatId);
    return ack;
  }

  #chat(chatId: string): { events: ChatEvent[]; epochs: number[] } {
    const chat = this.#chats.get(chatId) ?? { events: [], epochs: [] };
    this.#chats.set(chatId, chat);
    return chat;
  }

  async #fetch(url: URL, init: RequestInit): Promise<Response> {
    const method = init.method ?? 'GET';
    const body: unknown = typeof init.body === 'string' ? JSON.parse(init.body) : undefined;
    this.requests.push({ method, path: url.pathname + url.search, body, headers: new Headers(init.headers) });
    // A response that never arrives is ended by the timeout of the request.
    const aborted = new Promise<never>((_, reject) => {
      init.signal?.addEventListener('abort', () => reject(init.signal?.reason as Error));
    });
    const intercepted = this.intercept(method, url, body);
    return Promise.race([aborted, intercepted ?? Promise.resolve(this.#respond(method, url, body))]);
  }

  #respond(method: string, url: URL, body: unknown): Response {
    const [, , root, id, resource] = url.pathname.split('/');
    const query = (name: string): number | null =>
      url.searchParams.has(name) ? Number(url.searchParams.get(name)) : null;
    const { epoch } = this;
    if (root === 'config') return json({ auth: false, gateway: { url: null, port: 3001 }, epoch, version: '0' });
    if (method === 'POST' && root === 'chat') {
      const { chatId, content, ...rest } = body as Message;
      return json(this.post(chatId, content, rest), 201);
    }
    if (root !== 'chats' || id === undefined) return problem(404, 'not-found');
    const { events } = this.#chat(id);
    const limit = query('limit') ?? 50;
    if (resource === 'messages') {
      const before = query('before') ?? Number.POSITIVE_INFINITY;
      const older = events.filter((event) => event.event === 'new-msg' && event.seq < before);
      const messages = older.slice(-limit).map(({ data }) => data);
      return json({ epoch, seq: events.length, messages, hasMore: older.length > messages.length });
    }
    const after = query('after') ?? 0;
    const claimed = url.searchParams.get('epoch');
    if (claimed !== null && !this.belongs(id, { epoch: claimed, seq: after })) {
      return json({ epoch, events: [], seq: events.length, more: false, reset: true });
    }
    const page = events.slice(after, after + limit);
    return json({ epoch, events: page, seq: events.length, more: after + page.length < events.length, reset: false });
  }
}

export function json(value: unknown, status = 200): Response {
  return new Response(JSON.stringify(value), { status, headers: { 'content-type': 'application/json' } });
}

export function problem(status: number, code: string): Response {
  return new Response(JSON.stringify({ type: 'about:blank', title: code, status, detail: code, code }), {
    status,
    headers: { 'content-type': 'application/problem+json' },
  });
}

export class FakeSocket implements GatewaySocket {
  readonly rooms = new Set<string>();
  readonly sent: [string, unknown][] = [];
  readonly url: string;
  readonly auth: Record<string, unknown>;
  connected = false;
  active = true;
  readonly #server: FakeServer;
  #connecting: TimerHandle | null = null;
  #handlers = new Map<string, Handler>();
  #any: (event: string, ...args: unknown[]) => void = () => undefined;

  constructor(server: FakeServer, url: string, { auth }: GatewaySocketOptions) {
    this.#server = server;
    this.url = url;
    this.auth = auth;
    server.sockets.push(this);
  }

  on(event: string, listener: Handler): void {
    this.#handlers.set(event, listener);
  }

  onAny(listener: (event: string, ...args: unknown[]) => void): void {
    this.#any = listener;
  }

  removeAllListeners(): void {
    this.#handlers.clear();
  }

  offAny(): void {
    this.#any = () => undefined;
  }

  connect(): void {
    this.#connecting = this.#server.clock.setTimeout(() => {
      const { connectionFault } = this.#server;
      if (connectionFault === null) {
        this.connected = true;
        this.#fire('connect');
      } else if (connectionFault === 'unreachable') {
        this.#fire('connect_error', new Error('websocket error'));
      } else {
        this.active = false;
        this.#fire('connect_error', Object.assign(new Error(connectionFault.message), { data: connectionFault.data }));
      }
    }, 10);
  }

  disconnect(): void {
    if (this.#connecting !== null) this.#server.clock.clearTimeout(this.#connecting);
    this.connected = false;
    this.rooms.clear();
  }

  emit(event: string, ...args: unknown[]): void {
    const ack = typeof args.at(-1) === 'function' ? (args.pop() as (answer: unknown) => void) : null;
    this.sent.push([event, args[0]]);
    queueMicrotask(() => {
      if (!this.connected) return;
      if (event === 'join-chat') {
        const answer = this.#server.join(this, args[0]);
        if (answer !== null) ack?.(answer);
      } else if (event === 'leave-chat') {
        this.rooms.delete(args[0] as string);
        ack?.({ ok: true, chatId: args[0] });
      } else if (event === 'join-user') {
        ack?.({ ok: true, userId: args[0] });
      } else if (event === 'typing') {
        ack?.({ ok: true, chatId: (args[0] as { chatId: string }).chatId });
      } else if (event === 'ping') {
        ack?.('pong');
      }
    });
  }

  receive(event: string, payload: unknown): void {
    if (this.connected) this.#any(event, payload);
  }

  drop(reason: string): void {
    if (!this.connected) return;
    this.disconnect();
    this.#fire('disconnect', reason);
  }

  #fire(event: string, ...args: unknown[]): void {
    this.#handlers.get(event)?.(...(args as never[]));
  }
}
