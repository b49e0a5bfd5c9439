/**
 * In-memory Roomcast server: the log of each chat, its REST API, and a gateway with a faulty network.
 *
 * It follows the contract, epochs included, so that a test can compare the state of a client with `contents`.
 */
import type { AiChunk, AiStatus, ChatEvent, Cursor, JoinChatAck, Message, Turn } from '../../src/generated/contract.ts';
import type { GatewaySocket, GatewaySocketOptions, Runtime, TimerHandle } from '../../src/platform/runtime.ts';
import { FakeClock } from './fake-clock.ts';

type Handler = (...args: never[]) => void;

/** A turn whose answer grows, and its stream. */
export interface FakeAnswer {
  chatId: string;
  turn: Turn;
  place: number;
  version: number;
  /** The stream; empty after its loss. */
  chunks: Record<string, unknown>[];
  /** The chunks so far, also those of a lost stream. */
  all: Record<string, unknown>[];
}

/** Delivers, drops, delays or repeats an event for one socket. */
export type Delivery = (socket: FakeSocket, event: string, payload: unknown) => void;

export class FakeServer {
  readonly clock = new FakeClock();
  readonly sockets: FakeSocket[] = [];
  readonly requests: { method: string; path: string; body: unknown; headers: Headers }[] = [];
  /** Responds in place of the API, unless it returns undefined. */
  intercept: (method: string, url: URL, body: unknown) => Response | Promise<Response> | undefined = () => undefined;
  /** Outcome of the next connections: null accepts them; else they fail or are rejected. */
  /** Lifetime of tokens in seconds; null: without authentication. */
  tokenLifetimeS: number | null = null;
  /** The ack of `auth-refresh`. */
  refreshAuth: (token: string) => unknown = () => ({ ok: true, expiresAt: null, expiresIn: this.tokenLifetimeS });
  connectionFault: null | 'unreachable' | { message: string; data?: { code: string } } = null;
  /** Replaces the ack of a join; a result of null sends no ack. */
  joinAck: ((chatId: string, since: Cursor | null) => unknown) | null = null;
  deliver: Delivery = (socket, event, payload) => socket.receive(event, payload);
  /** Maximum number of events that a join replays; with more, its ack has `recovered: false`. */
  replayLimit = 100;
  /** Replaces the ack of `ai-resume`; a result of null sends no ack. */
  resumeAck: ((turnId: string) => unknown) | null = null;
  wake: () => void = () => undefined;
  readonly #answers = new Map<string, FakeAnswer>();
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
    this.store(chatId, 'new-msg', message);
    return message;
  }

  // Turns. `#store` sends the end of an answer as `ai-end` to sockets that joined with `stream`.

  /** Queues a turn for a USER message, or for a new version at the place of an earlier answer. */
  queue(chatId: string, messageId: string, replaces?: FakeAnswer): FakeAnswer {
    const id = `turn-${(this.#ids += 1)}`;
    const turn: Turn = { id, messageId, status: 'queued', reason: null, generation: 0, last: -1 };
    const { place = 0, version = 0 } = replaces ?? {};
    const answer = { chatId, turn, place, version: version + 1, chunks: [], all: [] };
    this.#answers.set(id, answer);
    if (replaces) this.#change(answer, place);
    return answer;
  }

  /** Posts a USER message with a queued turn. */
  ask(chatId: string, content: string): { question: Message; answer: FakeAnswer } {
    const answer = this.queue(chatId, `${chatId}-${this.epoch}-${this.head(chatId) + 1}`);
    return { question: this.post(chatId, content, { turn: { ...answer.turn } }), answer };
  }

  start(answer: FakeAnswer): void {
    answer.turn = { ...answer.turn, status: 'streaming', generation: answer.turn.generation + 1 };
    answer.place ||= this.head(answer.chatId) + 1;
    this.#change(answer, answer.place);
    this.send(answer, { type: 'start', messageId: answer.turn.id });
  }

  /** Appends chunks to the stream of an answer, and sends them as one frame. */
  send(answer: FakeAnswer, ...chunks: Record<string, unknown>[]): void {
    const first = answer.turn.last + 1;
    answer.turn = { ...answer.turn, last: answer.turn.last + chunks.length };
    if (answer.chunks.length === first) answer.chunks.push(...chunks);
    answer.all.push(...chunks);
    this.sendChunks(answer, { first, last: answer.turn.last, chunks });
  }

  sendChunks(
    { chatId, turn: { id, generation } }: FakeAnswer,
    frame: Omit<AiChunk, 'chatId' | 'turnId' | 'generation'>,
  ) {
    const payload = { chatId, turnId: id, ...(generation > 1 && { generation }), ...frame };
    for (const socket of this.sockets) if (socket.streams.has(chatId)) this.deliver(socket, 'ai-chunk', payload);
  }

  /** Ends a turn: with a message if it has a text. */
  end(answer: FakeAnswer, status: Turn['status'] = 'complete', reason: Turn['reason'] = null): void {
    const { chatId, place, version } = answer;
    const content = textOf(answer);
    if (content !== '') this.send(answer, { type: 'text-end', id: '0' }, { type: 'finish' });
    answer.turn = { ...answer.turn, status, reason };
    const { turn } = answer;
    const parts = [{ type: 'text', text: content, state: 'done' }];
    if (content === '') this.#change(answer, place || null);
    else this.post(chatId, content, { id: turn.id, role: 'AI', place, version, turn, parts });
  }

  #change({ chatId, turn, version }: FakeAnswer, place: number | null): void {
    const seq = this.head(chatId) + 1;
    const time = new Date(Date.UTC(2026, 0, 1) + seq * 1_000).toISOString();
    const status: AiStatus = { chatId, epoch: this.epoch, seq, time, place, version, turn: { ...turn } };
    this.store(chatId, 'ai-status', status);
  }

  resume(turnId: string): unknown {
    const replaced = this.resumeAck?.(turnId);
    if (replaced !== undefined) return replaced;
    const { chatId, turn, chunks } = this.#answers.get(turnId) ?? { chatId: '', turn: { generation: 0 }, chunks: [] };
    // Compacted: the deltas of the only part are merged.
    const text = chunks.map((chunk) => (chunk['type'] === 'text-delta' ? (chunk['delta'] as string) : '')).join('');
    const others = chunks.filter((chunk) => chunk['type'] !== 'text-delta');
    const merged = text === '' ? others : others.toSpliced(2, 0, { type: 'text-delta', id: '0', delta: text });
    return { ok: true, chatId, turnId, generation: turn.generation, first: 0, last: chunks.length - 1, chunks: merged };
  }

  /** The last version of each place, with the state of its turn; answers that grow have the text so far. */
  messages(chatId: string): Message[] {
    const byPlace = new Map<number, Message>();
    const latest = new Map<string, Turn>();
    for (const { chatId: id, turn } of this.#answers.values()) if (id === chatId) latest.set(turn.messageId, turn);
    for (const { event, data } of this.#chat(chatId).events) {
      const { turn, place, ...status } = data as unknown as AiStatus;
      if (event === 'new-msg') byPlace.set(place ?? 0, data as unknown as Message);
      const answer = event === 'ai-status' && turn.status !== 'queued' && this.#answers.get(turn.id);
      if (!answer || place === null) continue;
      const content = textOf(answer);
      byPlace.set(place, {
        ...status,
        place,
        id: turn.id,
        role: 'AI',
        content,
        turn: answer.turn,
        parts: content === '' ? [] : [{ type: 'text', text: content, state: 'streaming' }],
        userId: null,
        clientMsgId: null,
        status: 'sent',
      });
    }
    return [...byPlace.values()]
      .sort((a, b) => a.place - b.place)
      .map((message) => ({ ...message, turn: latest.get(message.id) ?? message.turn }));
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
    this.store(chatId, 'msg-starred', { chatId, epoch: this.epoch, seq: this.head(chatId) + 1 });
  }

  store(chatId: string, event: string, data: object): void {
    const chat = this.#chat(chatId);
    chat.events.push({ seq: chat.events.length + 1, type: event, event, data: { ...data } });
    chat.epochs.push(this.#epoch);
    for (const socket of this.sockets) {
      if (socket.rooms.has(chatId)) this.deliver(socket, ...eventFor(socket, chatId, event, data));
    }
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
    const {
      chatId,
      since = null,
      stream = false,
    } = (typeof payload === 'string' ? { chatId: payload } : payload) as {
      chatId: string;
      since?: Cursor | null;
      stream?: boolean;
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
      if (stream) socket.streams.add(chatId);
      for (const { event, data } of events.slice(since.seq)) socket.receive(...eventFor(socket, chatId, event, data));
    }
    socket.rooms.add(chatId);
    if (stream) socket.streams.add(chatId);
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
      const older = this.messages(id).filter(({ place }) => place < before);
      const messages = older.slice(-limit);
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

function textOf({ all }: FakeAnswer): string {
  return all.map(({ type, delta }) => (type === 'text-delta' ? (delta as string) : '')).join('');
}

/** The end of an answer is `ai-end`, without its text, for sockets that receive chunks. */
function eventFor(socket: FakeSocket, chatId: string, event: string, data: object): [string, object] {
  if (event !== 'new-msg' || (data as Message).parts === null || !socket.streams.has(chatId)) return [event, data];
  const lacking = ['content', 'parts', 'userId', 'clientMsgId', 'status'];
  return ['ai-end', Object.fromEntries(Object.entries(data).filter(([name]) => !lacking.includes(name)))];
}

export class FakeSocket implements GatewaySocket {
  readonly rooms = new Set<string>();
  /** Chats that are joined with `stream`. */
  readonly streams = new Set<string>();
  readonly sent: [string, unknown][] = [];
  readonly url: string;
  readonly path: string;
  readonly auth: Record<string, unknown>;
  connected = false;
  active = true;
  readonly #server: FakeServer;
  #connecting: TimerHandle | null = null;
  #handlers = new Map<string, Handler>();
  #any: (event: string, ...args: unknown[]) => void = () => undefined;

  constructor(server: FakeServer, url: string, { path, auth }: GatewaySocketOptions) {
    this.#server = server;
    this.url = url;
    this.path = path;
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
    this.streams.clear();
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
        this.streams.delete(args[0] as string);
        ack?.({ ok: true, chatId: args[0] });
      } else if (event === 'join-user') {
        const { tokenLifetimeS: expiresIn } = this.#server;
        ack?.({ ok: true, userId: args[0], ...(expiresIn !== null && { expiresIn }) });
      } else if (event === 'auth-refresh') {
        ack?.(this.#server.refreshAuth((args[0] as { token: string }).token));
      } else if (event === 'typing') {
        ack?.({ ok: true, chatId: (args[0] as { chatId: string }).chatId });
      } else if (event === 'ai-resume') {
        const answer = this.#server.resume((args[0] as { turnId: string }).turnId);
        if (answer !== null) ack?.(answer);
      } else if (event === 'ai-stop') {
        ack?.({ ok: true, turnId: (args[0] as { turnId: string }).turnId });
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
