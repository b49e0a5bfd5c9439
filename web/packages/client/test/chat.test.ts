/** One chat as a view sees it: optimistic sends, retries, history, unsent messages after a reload. */
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { type ChatSession, createClient, type KeyValueStorage, type WebSocketClient } from '../src/index.ts';
import { FakeServer, json, problem } from './support/fake-server.ts';

const CHAT = 'c';

interface Setup {
  storage?: KeyValueStorage;
  pageSize?: number;
  userId?: string;
  /** Messages stored before the client connects. */
  stored?: string[];
}

async function setUp({ userId = 'ada', stored = [], ...options }: Setup = {}): Promise<{
  server: FakeServer;
  client: WebSocketClient;
  chat: ChatSession;
}> {
  const server = new FakeServer();
  for (const content of stored) server.post(CHAT, content);
  const client = createClient({ runtime: server.runtime, ...options });
  client.acquire(userId);
  const chat = client.chat(CHAT);
  onTestFinished(chat.subscribe(() => undefined));
  onTestFinished(() => client.close());
  await server.clock.advance(400);
  return { server, client, chat };
}

function lines(chat: ChatSession): string[] {
  return chat.getSnapshot().messages.map(({ content, status }) => `${content} ${status}`);
}

function posts(server: FakeServer): unknown[] {
  return server.requests.filter(({ method }) => method === 'POST').map(({ body }) => body);
}

describe('sending', () => {
  test('shows the entry at once, which keeps its key when it is confirmed', async () => {
    const { server, chat } = await setUp();
    const sent = chat.send('hello');
    const [optimistic] = chat.getSnapshot().messages;
    expect(optimistic).toMatchObject({ content: 'hello', status: 'sending', seq: null, userId: 'ada' });
    await server.clock.advance(10);
    const [confirmed] = chat.getSnapshot().messages;
    expect(confirmed).toMatchObject({ status: 'sent', seq: 1, key: optimistic?.key });
    expect(await sent).toMatchObject({ status: 'sent', seq: 1 });
    expect(posts(server)).toEqual([
      { chatId: CHAT, role: 'USER', content: 'hello', clientMsgId: 'id-1', userId: 'ada' },
    ]);
  });

  test('shows one message if the event arrives before the response', async () => {
    const { server, chat } = await setUp();
    let respond: (response: Response) => void = () => undefined;
    server.intercept = (method) => (method === 'POST' ? new Promise((resolve) => (respond = resolve)) : undefined);
    const sent = chat.send('hello');
    await server.clock.advance(10);
    const message = server.post(CHAT, 'hello', { clientMsgId: 'id-1' });
    expect((await sent).status).toBe('sent');
    respond(json(message, 201));
    await server.clock.advance(10);
    expect(lines(chat)).toEqual(['hello sent']);
  });

  test('shows one message if the response arrives before the event', async () => {
    const { server, chat } = await setUp();
    const late: (() => void)[] = [];
    server.deliver = (socket, event, payload) => late.push(() => socket.receive(event, payload));
    const sent = chat.send('hello');
    await server.clock.advance(10);
    await sent;
    expect(lines(chat)).toEqual(['hello sent']);
    for (const receive of late) receive();
    expect(lines(chat)).toEqual(['hello sent']);
    expect(chat.getSnapshot().messages[0]?.seq).toBe(1);
  });

  test('fetches the event if it does not arrive', async () => {
    const { server, client, chat } = await setUp();
    const announced = vi.fn();
    client.on('new-msg', announced);
    server.deliver = () => undefined;
    server.post(CHAT, 'lost');
    const sent = chat.send('mine');
    await server.clock.advance(10);
    await sent;
    expect(lines(chat)).toEqual(['mine sent']);
    await server.clock.advance(2_000);
    expect(lines(chat)).toEqual(['lost sent', 'mine sent']);
    expect(announced).toHaveBeenCalledTimes(2);
  });

  test('keeps the order, with one request at a time', async () => {
    const { server, chat } = await setUp();
    let failures = 3;
    server.intercept = (method) =>
      method === 'POST' && failures-- > 0 ? Promise.reject(new TypeError('failed to fetch')) : undefined;
    void chat.send('one');
    void chat.send('two');
    await server.clock.advance(20_000);
    expect(server.contents(CHAT)).toEqual(['one', 'two']);
  });

  test('a lost response does not store the message twice', async () => {
    const { server, chat } = await setUp();
    let lost = 1;
    server.intercept = (method, _url, body) => {
      if (method !== 'POST' || lost-- <= 0) return undefined;
      server.deliver = () => undefined;
      server.post(CHAT, 'once', body as never);
      return Promise.reject(new TypeError('connection reset'));
    };
    const sent = chat.send('once');
    await server.clock.advance(20_000);
    expect((await sent).status).toBe('sent');
    expect(server.contents(CHAT)).toEqual(['once']);
    expect(new Set(posts(server).map((body) => (body as { clientMsgId: string }).clientMsgId)).size).toBe(1);
  });

  test('is not retried after its event has arrived', async () => {
    const { server, chat } = await setUp();
    let fail: (error: Error) => void = () => undefined;
    server.intercept = (method) => (method === 'POST' ? new Promise((_, reject) => (fail = reject)) : undefined);
    const sent = chat.send('hello');
    await server.clock.advance(10);
    server.post(CHAT, 'hello', { clientMsgId: 'id-1' });
    fail(new TypeError('connection reset'));
    await server.clock.advance(60_000);
    expect((await sent).status).toBe('sent');
    expect(posts(server)).toHaveLength(1);
  });

  test('a message that was stored in a lost history is removed', async () => {
    const { server, chat } = await setUp();
    server.deliver = () => undefined;
    void chat.send('accepted');
    await server.clock.advance(10);
    expect(lines(chat)).toEqual(['accepted sent']);
    server.restore(0);
    await server.clock.advance(5_000);
    expect(lines(chat)).toEqual([]);
  });

  test('so is a message that was stored before the client loaded that history', async () => {
    const server = new FakeServer();
    const client = createClient({ runtime: server.runtime });
    client.acquire('ada');
    const chat = client.chat(CHAT);
    chat.subscribe(() => undefined);
    for (const content of ['m1', 'm2', 'm3']) server.post(CHAT, content);
    void chat.send('accepted');
    await server.clock.advance(0);
    // The client’s cursor exists in the restored copy too, so the join does not report a reset.
    server.restore(3);
    await server.clock.advance(40_000);
    expect(lines(chat)).toEqual(['m1 sent', 'm2 sent', 'm3 sent']);
  });

  test('is retried until there is a response, and at once on wake', async () => {
    const { server, chat } = await setUp();
    server.intercept = () => Promise.reject(new TypeError('failed to fetch'));
    const sent = chat.send('unanswered');
    await server.clock.advance(600_000);
    expect(lines(chat)).toEqual(['unanswered sending']);
    server.intercept = () => undefined;
    server.wake();
    await server.clock.advance(1);
    expect((await sent).status).toBe('sent');
  });

  test('fails after six retryable error responses, and can be sent again with the same id', async () => {
    const { server, chat } = await setUp();
    server.intercept = (method) => (method === 'POST' ? problem(503, 'unavailable') : undefined);
    const sent = chat.send('rejected');
    await server.clock.advance(60_000);
    const failed = await sent;
    expect(failed).toMatchObject({ status: 'failed', error: { status: 503, code: 'unavailable' } });
    expect(posts(server)).toHaveLength(6);
    server.intercept = () => undefined;
    const again = chat.retry(failed.key);
    expect(lines(chat)).toEqual(['rejected sending']);
    await server.clock.advance(10);
    expect(await again).toMatchObject({ status: 'sent', key: failed.key });
    await expect(chat.retry(failed.key)).rejects.toBeInstanceOf(RangeError);
  });

  test('a rejected message does not block the next one, and can be discarded', async () => {
    const { server, chat } = await setUp();
    server.intercept = (method, _url, body) =>
      method === 'POST' && (body as { content: string }).content === 'bad' ? problem(422, 'invalid') : undefined;
    const bad = chat.send('bad');
    void chat.send('good');
    await server.clock.advance(10);
    expect(lines(chat)).toEqual(['good sent', 'bad failed']);
    chat.discard((await bad).key);
    expect(lines(chat)).toEqual(['good sent']);
  });

  test('an API that does not respond does not block the outbox', async () => {
    const { server, chat } = await setUp();
    let hang = true;
    server.intercept = (method) => (method === 'POST' && hang ? new Promise(() => undefined) : undefined);
    const sent = chat.send('hello');
    await server.clock.advance(10_000);
    hang = false;
    await server.clock.advance(15_000);
    expect((await sent).status).toBe('sent');
  });

  test('omits the user id if there is a token', async () => {
    const server = new FakeServer();
    const client = createClient({ runtime: server.runtime, auth: { token: 't' } });
    client.acquire('ada');
    await server.clock.advance(50);
    await client.sendMessage(CHAT, 'hello');
    expect(posts(server)[0]).not.toHaveProperty('userId');
    expect(server.requests.at(-1)?.headers.get('authorization')).toBe('Bearer t');
    client.close();
  });
});

describe('history', () => {
  test('is loaded backwards to its beginning', async () => {
    const stored = [1, 2, 3, 4, 5, 6, 7].map((index) => `m${index}`);
    const { chat } = await setUp({ pageSize: 3, stored });
    expect(lines(chat)).toHaveLength(3);
    const loading = chat.loadOlder();
    expect(chat.getSnapshot().loadingOlder).toBe(true);
    await loading;
    await chat.loadOlder();
    await chat.loadOlder();
    expect(lines(chat)).toEqual(stored.map((content) => `${content} sent`));
    expect(chat.getSnapshot()).toMatchObject({ hasOlder: false, loadingOlder: false });
  });

  test('a failure is shown and can be retried', async () => {
    const { server, chat } = await setUp({ pageSize: 1, stored: ['a', 'b'] });
    server.intercept = () => problem(500, 'internal');
    await chat.loadOlder();
    expect(chat.getSnapshot()).toMatchObject({ error: { status: 500 }, status: 'ready', hasOlder: true });
    server.intercept = () => undefined;
    await chat.loadOlder();
    expect(chat.getSnapshot().error).toBeNull();
    expect(lines(chat)).toEqual(['a sent', 'b sent']);
  });

  test('is bounded in memory while live messages arrive', async () => {
    const { server, chat } = await setUp();
    for (let index = 0; index < 2_500; index += 1) server.post(CHAT, `m${index}`);
    expect(lines(chat)).toHaveLength(2_000);
    expect(chat.getSnapshot().hasOlder).toBe(true);
    await chat.loadOlder();
    expect(lines(chat)).toHaveLength(2_050);
  });
});

describe('snapshots', () => {
  test('an entry remains the same object while others arrive', async () => {
    const { server, chat } = await setUp();
    server.post(CHAT, 'a');
    const [first] = chat.getSnapshot().messages;
    server.post(CHAT, 'b');
    server.restart();
    await server.clock.advance(5_000);
    expect(chat.getSnapshot().messages[0]).toBe(first);
    expect(chat.getSnapshot()).toBe(chat.getSnapshot());
  });

  test('a rejected join sets an error, which access at the next connection clears', async () => {
    const { server, chat } = await setUp();
    server.joinAck = () => ({ ok: false, error: { code: 'forbidden', message: 'not a member' } });
    server.cut();
    await server.clock.advance(5_000);
    expect(chat.getSnapshot()).toMatchObject({ status: 'error', error: { code: 'forbidden' }, synced: false });
    server.joinAck = null;
    server.cut();
    await server.clock.advance(5_000);
    expect(chat.getSnapshot()).toMatchObject({ status: 'ready', error: null, synced: true });
  });

  test('a chat is left with its last view, and continues from its cursor without loading again', async () => {
    const server = new FakeServer();
    const client = createClient({ runtime: server.runtime });
    client.acquire('ada');
    const leave = client.chat(CHAT).subscribe(() => undefined);
    await server.clock.advance(400);
    leave();
    expect(server.socket.rooms.has(CHAT)).toBe(true);
    await server.clock.advance(1);
    expect(server.socket.rooms.has(CHAT)).toBe(false);
    server.post(CHAT, 'meanwhile');
    const requests = server.requests.length;
    onTestFinished(client.chat(CHAT).subscribe(() => undefined));
    await server.clock.advance(10);
    expect(lines(client.chat(CHAT))).toEqual(['meanwhile sent']);
    expect(server.requests).toHaveLength(requests);
    client.close();
  });

  test('unused chats are evicted, but never one that was just requested', async () => {
    const server = new FakeServer();
    const client = createClient({ runtime: server.runtime });
    const first = client.chat('first');
    for (let index = 0; index < 100; index += 1) client.chat(`c${index}`);
    expect(client.chat('c0')).toBe(client.chat('c0'));
    await server.clock.advance(61_000);
    client.chat('another');
    expect(client.chat('first')).not.toBe(first);
    expect(client.chat('c99')).toBe(client.chat('c99'));
  });
});

describe('another user', () => {
  test('sees no messages of the previous one', async () => {
    const { server, client, chat } = await setUp();
    server.intercept = (method) => (method === 'POST' ? Promise.reject(new TypeError('failed to fetch')) : undefined);
    server.post(CHAT, 'public');
    void chat.send('private');
    expect(lines(chat)).toEqual(['public sent', 'private sending']);
    void client.connect('bob');
    expect(lines(chat)).toEqual([]);
    await server.clock.advance(1_000);
    expect(lines(chat)).toEqual(['public sent']);
    expect(chat.getSnapshot().synced).toBe(true);
  });
});

describe('a rate limit', () => {
  const limited = (seconds: number): Response =>
    new Response(JSON.stringify({ code: 'rate-limited', limit: 'messages' }), {
      status: 429,
      headers: { 'content-type': 'application/problem+json', 'retry-after': String(seconds) },
    });

  test('delays the message as long as the server says, however often, and the snapshot says until when', async () => {
    const { server, chat } = await setUp();
    let refusals = 8; // more than the attempts of a failing message
    server.intercept = (method) => (method === 'POST' && (refusals -= 1) >= 0 ? limited(30) : undefined);
    const sent = chat.send('hello');
    await server.clock.advance(10);
    expect(lines(chat)).toEqual(['hello sending']);
    const waits = (chat.getSnapshot().sendsAgainAt?.getTime() ?? 0) - Date.now();
    expect(waits).toBeGreaterThan(29_000);
    expect(waits).toBeLessThanOrEqual(30_000);
    server.wake(); // the end of a sleep ends a backoff, not this wait
    await server.clock.advance(29_900);
    expect(refusals).toBe(7);
    for (let wait = 0; wait < 8; wait += 1) await server.clock.advance(30_000);
    expect(await sent).toMatchObject({ status: 'sent' });
    expect(chat.getSnapshot().sendsAgainAt).toBeNull();
    expect(server.contents(CHAT)).toEqual(['hello']);
  });

  test('of any length is tried again after a minute', async () => {
    const { server, chat } = await setUp();
    let refusals = 1;
    server.intercept = (method) => (method === 'POST' && (refusals -= 1) >= 0 ? limited(86_400) : undefined);
    const sent = chat.send('hello');
    await server.clock.advance(60_100);
    expect(await sent).toMatchObject({ status: 'sent' });
  });
});

describe.each(['getItem', 'setItem', 'removeItem', 'key', 'length'] as const)('a storage whose %s throws', (member) => {
  test('prevents no send, and the first message that is not stored is reported once', async () => {
    const storage = new MemoryStorage();
    // Another unsent message, so that each member is used.
    const outgoing = { chatId: CHAT, content: 'earlier', clientMsgId: 'x', role: 'USER', userId: 'ada' };
    storage.setItem(`roomcast:unsent:${CHAT}:ada:x`, JSON.stringify({ outgoing, at: 1 }));
    Object.defineProperty(storage, member, {
      get() {
        throw new DOMException('denied', 'SecurityError');
      },
    });
    const { server, client, chat } = await setUp({ storage });
    const reported = vi.fn();
    client.on('storage-failed', reported);
    const sent = [chat.send('one'), client.sendMessage('other', 'two')];
    await server.clock.advance(10);
    expect((await Promise.all(sent)).map(({ status }) => status)).toEqual(['sent', 'sent']);
    expect(reported).toHaveBeenCalledTimes(member === 'removeItem' ? 0 : 1);
  });
});

describe('the storage', () => {
  test('restores unsent messages in order after a reload, and removes sent ones', async () => {
    const storage = new MemoryStorage();
    const before = await setUp({ storage });
    before.server.intercept = () => Promise.reject(new TypeError('failed to fetch'));
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    void before.chat.send('one');
    void before.chat.send('two');
    // The user's clock is set back.
    vi.setSystemTime(Date.now() - 60_000);
    void before.chat.send('three');
    expect(storage.length).toBe(3);

    const after = await setUp({ storage });
    expect(after.server.contents(CHAT)).toEqual(['one', 'two', 'three']);
    expect(lines(after.chat)).toEqual(['one sent', 'two sent', 'three sent']);
    expect(storage.length).toBe(0);
  });

  test('does not append a restored message that the server stored before the loaded page', async () => {
    const storage = new MemoryStorage();
    const outgoing = { chatId: CHAT, role: 'USER', content: 'old', clientMsgId: 'x', userId: 'ada' };
    storage.setItem(`roomcast:unsent:${CHAT}:ada:x`, JSON.stringify({ outgoing, at: 1 }));
    const server = new FakeServer();
    server.post(CHAT, 'old', { clientMsgId: 'x' });
    server.post(CHAT, 'new');
    const client = createClient({ runtime: server.runtime, storage, pageSize: 1 });
    client.acquire('ada');
    const chat = client.chat(CHAT);
    onTestFinished(chat.subscribe(() => undefined));
    await server.clock.advance(1_000);
    expect(lines(chat)).toEqual(['new sent']);
    expect(server.contents(CHAT)).toEqual(['old', 'new']);
    expect(storage.length).toBe(0);
    client.close();
  });

  test('keeps the messages of another user for that user', async () => {
    const storage = new MemoryStorage();
    const before = await setUp({ storage });
    before.server.intercept = () => Promise.reject(new TypeError('failed to fetch'));
    void before.chat.send('ada’s');
    const { server } = await setUp({ storage, userId: 'bob' });
    expect(server.contents(CHAT)).toEqual([]);
    expect(storage.length).toBe(1);
  });

  test('may be full or hold invalid values without effect on sending', async () => {
    const storage = new MemoryStorage();
    storage.setItem(`roomcast:unsent:${CHAT}:ada:x`, '{"outgoing":');
    storage.setItem(`roomcast:unsent:${CHAT}:ada:y`, '{"outgoing":{"chatId":1},"at":1}');
    storage.setItem = () => {
      throw new DOMException('full', 'QuotaExceededError');
    };
    const { server, chat } = await setUp({ storage });
    void chat.send('hello');
    await server.clock.advance(10);
    expect(lines(chat)).toEqual(['hello sent']);
  });
});

class MemoryStorage implements KeyValueStorage {
  readonly #items = new Map<string, string>();

  get length(): number {
    return this.#items.size;
  }

  key(index: number): string | null {
    return [...this.#items.keys()][index] ?? null;
  }

  getItem(key: string): string | null {
    return this.#items.get(key) ?? null;
  }

  setItem(key: string, value: string): void {
    this.#items.set(key, value);
  }

  removeItem(key: string): void {
    this.#items.delete(key);
  }
}
