import { describe, expect, onTestFinished, test } from 'vitest';
import type { Chat } from '../src/generated/contract.ts';
import { type ChatList, type ChatSummary, createClient, type LastMessage, type WebSocketClient } from '../src/index.ts';
import { FakeServer, json, problem } from './support/fake-server.ts';

const AI: Chat['ai'] = {
  answers: 'always',
  whenActive: 'queue',
  responder: null,
  model: null,
  systemPrompt: null,
  tokenBudget: null,
};

function chat(id: string, minute: number, lastSeq = 0): Chat {
  const time = new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString();
  return {
    id,
    title: null,
    createdAt: time,
    lastActivityAt: time,
    lastSeq,
    lastMessage: null,
    epoch: 'e1',
    ai: AI,
    preview: null,
    unread: null,
    mentions: null,
    retentionDays: null,
  };
}

function messageAt(seq: number, userId = 'bob'): LastMessage {
  return { epoch: 'e1', seq, userId, time: new Date(Date.UTC(2026, 0, 2)) };
}

function setUp(all: Chat[]): { server: FakeServer; client: WebSocketClient; chats: ChatList; ids: () => string[] } {
  const server = new FakeServer();
  server.intercept = (method, url, body) => {
    const id = /^\/api\/chats\/([^/]+)$/.exec(url.pathname)?.[1];
    if (id !== undefined) {
      const found = all.find((chat) => chat.id === decodeURIComponent(id));
      return found ? json(found) : problem(404, 'chat-not-found');
    }
    if (url.pathname !== '/api/chats') return undefined;
    if (method === 'POST') {
      const created = { ...chat((body as { id: string }).id, 59) };
      all.unshift(created);
      return json(created, 201);
    }
    const from = Number(url.searchParams.get('cursor') ?? 0);
    const page = all.slice(from, from + 2);
    return json({ chats: page, nextCursor: from + 2 < all.length ? String(from + 2) : null });
  };
  const client = createClient({ runtime: server.runtime });
  const { chats } = client;
  return { server, client, chats, ids: () => chats.getSnapshot().chats.map(({ id }) => id) };
}

describe('the chat list', () => {
  test('loses chats that the first page must contain and does not, and keeps those of later pages', async () => {
    const all = ['a', 'b', 'c', 'd', 'e'].map((id, index) => chat(id, 50 - index));
    const { chats, ids } = setUp(all);
    onTestFinished(chats.subscribe(() => undefined));
    await chats.refresh();
    await chats.loadMore();
    expect(ids()).toEqual(['a', 'b', 'c', 'd']);
    all.splice(1, 1);
    await chats.refresh();
    expect(ids()).toEqual(['a', 'c', 'd']);
    all.splice(0, 1);
    await chats.refresh();
    expect(ids()).toEqual(['c', 'd']);
  });

  test('is loaded by the first subscription, and then page by page on demand', async () => {
    const { server, chats, ids } = setUp([chat('a', 9), chat('b', 8), chat('c', 7), chat('d', 6), chat('e', 5)]);
    expect(chats.getSnapshot().status).toBe('idle');
    onTestFinished(chats.subscribe(() => undefined));
    expect(chats.getSnapshot().status).toBe('loading');
    await server.clock.advance(1);
    expect(ids()).toEqual(['a', 'b']);
    expect(chats.getSnapshot()).toMatchObject({ status: 'ready', hasMore: true });
    await Promise.all([chats.loadMore(), chats.loadMore()]);
    expect(ids()).toEqual(['a', 'b', 'c', 'd']);
    await chats.loadMore();
    expect(ids()).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(chats.getSnapshot().hasMore).toBe(false);
  });

  test('of another user does not contain a chat whose creation ends after the switch', async () => {
    const { server, client, chats, ids } = setUp([]);
    onTestFinished(() => client.close());
    client.acquire('ada');
    onTestFinished(chats.subscribe(() => undefined));
    await server.clock.advance(1_000);
    let respond: (response: Response) => void = () => undefined;
    const response = new Promise<Response>((resolve) => (respond = resolve));
    server.intercept = (method) =>
      method === 'POST' ? response : json({ chats: [chat('shared', 2)], nextCursor: 'more' });
    const created = chats.createChat();
    client.acquire('bob');
    await server.clock.advance(1_000);
    respond(json(chat('private', 1), 201));
    expect((await created).id).toBe('private');
    expect(ids()).toEqual(['shared']);
  });

  test('includes a chat that the loaded pages do not contain, in its place', async () => {
    const { server, chats, ids } = setUp([chat('a', 9), chat('b', 8), chat('c', 7), chat('d', 6), chat('e', 5)]);
    onTestFinished(chats.subscribe(() => undefined));
    chats.include('d');
    await server.clock.advance(1);
    expect(ids()).toEqual(['a', 'b', 'd']);
    await chats.refresh();
    expect(ids()).toEqual(['a', 'b', 'd']);
    await chats.loadMore();
    expect(ids()).toEqual(['a', 'b', 'c', 'd']);
    chats.include('e');
    await server.clock.advance(1);
    expect(ids()).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  test('includes an archived chat, which is on no page, and keeps it', async () => {
    const { server, chats } = setUp([chat('a', 9)]);
    onTestFinished(chats.subscribe(() => undefined));
    const working = server.intercept;
    server.intercept = (method, url, body) =>
      url.searchParams.get('archived') === 'true'
        ? json({ chats: [{ ...chat('old', 1), archived: true }], nextCursor: null })
        : working(method, url, body);
    chats.include('old');
    chats.include('missing');
    await server.clock.advance(1);
    const shown = () => chats.getSnapshot().chats.map(({ id, archived }) => [id, archived]);
    for (let refreshes = 0; refreshes < 2; refreshes++) {
      expect(shown()).toEqual([
        ['a', false],
        ['old', true],
      ]);
      await chats.refresh();
    }
    // Asked once for each: the archived one is known now, and the missing one is nowhere.
    expect(server.requests.filter(({ path }) => path.includes('archived=true'))).toHaveLength(2);
  });

  test('tries to include a chat until the server answers', async () => {
    const { server, chats, ids } = setUp([chat('a', 9), chat('b', 8), chat('c', 7)]);
    onTestFinished(chats.subscribe(() => undefined));
    const working = server.intercept;
    server.intercept = (method, url, body) =>
      url.pathname === '/api/chats/c' ? problem(503, 'unavailable') : working(method, url, body);
    chats.include('c');
    chats.include('missing');
    await chats.refresh();
    expect(ids()).toEqual(['a', 'b']);
    server.intercept = working;
    const asked = () => server.requests.filter((request) => request.path.includes('missing')).length;
    expect(asked()).toBe(1);
    await chats.refresh();
    expect(ids()).toEqual(['a', 'b', 'c']);
    expect(asked()).toBe(1);
  });

  test('moves a chat up on new activity, and fetches an unknown one', async () => {
    const all = [chat('a', 9), chat('b', 8)];
    const { server, chats, ids } = setUp(all);
    onTestFinished(chats.subscribe(() => undefined));
    await server.clock.advance(1);
    const untouched = chats.getSnapshot().chats[0];
    chats.touch({ time: new Date(Date.UTC(2026, 0, 2)), chatId: 'b', seq: 1, lastMessage: messageAt(1) });
    expect(ids()).toEqual(['b', 'a']);
    expect(chats.getSnapshot().chats[1]).toBe(untouched);
    all.unshift(chat('new', 30));
    chats.touch({ time: new Date(), chatId: 'new', seq: 1, lastMessage: null });
    await server.clock.advance(1);
    expect(ids()).toContain('new');
  });

  test('keeps the newest message, in whatever order messages and additions are announced', async () => {
    const { server, chats } = setUp([chat('a', 9)]);
    onTestFinished(chats.subscribe(() => undefined));
    await server.clock.advance(1);
    const time = new Date(Date.UTC(2026, 0, 2));
    const state = () => {
      const [{ lastSeq, lastMessage }] = chats.getSnapshot().chats as [ChatSummary];
      return [lastSeq, lastMessage?.seq ?? null];
    };
    chats.touch({ chatId: 'a', time, seq: 3, lastMessage: null });
    expect(state()).toEqual([3, null]);
    chats.touch({ chatId: 'a', time, seq: 2, lastMessage: messageAt(2) });
    expect(state()).toEqual([3, 2]);
    const before = chats.getSnapshot();
    chats.touch({ chatId: 'a', time, seq: 1, lastMessage: messageAt(1) });
    expect(chats.getSnapshot()).toBe(before);
    chats.touch({ chatId: 'a', time, seq: 1, lastMessage: { ...messageAt(1), epoch: 'e2' } });
    expect(chats.getSnapshot().chats[0]?.lastMessage).toMatchObject({ epoch: 'e2', seq: 1 });
  });

  test('applies chat-activity at once, and does not treat it as an event of a joined chat', async () => {
    const all = [chat('a', 9, 1), chat('b', 8)];
    const { server, client, chats, ids } = setUp(all);
    const followed = client.chat('a');
    onTestFinished(followed.subscribe(() => undefined));
    onTestFinished(chats.subscribe(() => undefined));
    onTestFinished(() => client.close());
    const received: string[] = [];
    client.on('chat-activity', ({ chatId, seq }) => received.push(`${chatId} ${seq}`));
    client.acquire('ada');
    await server.clock.advance(50);
    const requestCount = server.requests.length;
    server.sendActivity('b', 3);
    expect(ids()).toEqual(['b', 'a']);
    expect(chats.getSnapshot().chats[0]).toMatchObject({ lastSeq: 3, lastActivityAt: new Date(Date.UTC(2026, 1, 1)) });
    expect(chats.getSnapshot().chats[0]?.lastMessage).toMatchObject({ seq: 3, userId: null });
    expect(server.requests).toHaveLength(requestCount);
    // The activity may arrive before its message.
    server.sendActivity('a', 1);
    server.post('a', 'hello');
    expect(followed.getSnapshot().messages.map(({ content }) => content)).toEqual(['hello']);
    expect(received).toEqual(['b 3', 'a 1']);
    all.unshift(chat('new', 30));
    server.sendActivity('new', 1);
    await server.clock.advance(1);
    expect(ids()).toContain('new');
  });

  test('is polled only while it has subscribers', async () => {
    const { server, chats } = setUp([chat('a', 9)]);
    const leave = chats.subscribe(() => undefined);
    await server.clock.advance(60_000);
    const requestCount = server.requests.length;
    expect(requestCount).toBeGreaterThan(3);
    leave();
    await server.clock.advance(60_000);
    expect(server.requests).toHaveLength(requestCount);
    expect(server.clock.pending).toBe(0);
  });

  test('retries temporary failures and reports permanent ones', async () => {
    const { server, chats } = setUp([chat('a', 9)]);
    const working = server.intercept;
    server.intercept = () => problem(503, 'unavailable');
    onTestFinished(chats.subscribe(() => undefined));
    await server.clock.advance(1);
    expect(chats.getSnapshot()).toMatchObject({ status: 'loading', error: { status: 503 } });
    server.intercept = working;
    await server.clock.advance(5_000);
    expect(chats.getSnapshot()).toMatchObject({ status: 'ready', error: null });
    server.intercept = () => problem(401, 'unauthorized');
    await chats.refresh();
    expect(chats.getSnapshot()).toMatchObject({ status: 'error', error: { code: 'unauthorized' } });
  });

  test('lists a created chat at once; a rejected creation throws', async () => {
    const { server, chats, ids } = setUp([chat('a', 9)]);
    onTestFinished(chats.subscribe(() => undefined));
    await server.clock.advance(1);
    await chats.createChat({ id: 'mine' });
    expect(ids()).toEqual(['mine', 'a']);
    server.intercept = () => problem(409, 'chat-exists');
    await expect(chats.createChat({ id: 'mine' })).rejects.toMatchObject({ code: 'chat-exists' });
  });
});

describe('unread messages', () => {
  async function counted() {
    const all = [{ ...chat('a', 9, 5), unread: 3, mentions: 1, preview: 'hi' }, chat('b', 8, 1)];
    const { server, client, chats } = setUp(all);
    client.acquire('ada');
    onTestFinished(() => client.close());
    onTestFinished(chats.subscribe(() => undefined));
    await server.clock.advance(1_000);
    const a = () => chats.getSnapshot().chats.find(({ id }) => id === 'a');
    const marked = () => server.requests.filter(({ path }) => path.startsWith('/api/chats/a/read'));
    return { all, server, client, chats, a, marked };
  }

  test('are read as soon as the chat is, and no older response brings them back', async () => {
    const { server, chats, a, marked } = await counted();
    expect(a()).toMatchObject({ unread: 3, mentions: 1, preview: 'hi' });
    chats.markRead('a', 5);
    chats.markRead('a', 4);
    expect(a()).toMatchObject({ unread: 0, mentions: 0 });
    await chats.refresh();
    await server.clock.advance(1_000);
    expect(a()).toMatchObject({ unread: 0, mentions: 0 });
    expect(marked()).toHaveLength(1);
  });

  test('are read again with the next refresh if the request fails', async () => {
    const { server, chats, marked } = await counted();
    const working = server.intercept;
    server.intercept = (method, url, body) =>
      method === 'PUT' ? problem(503, 'unavailable') : working(method, url, body);
    chats.markRead('a', 5);
    await server.clock.advance(1);
    expect(marked()).toHaveLength(1);
    server.intercept = working;
    await chats.refresh();
    await server.clock.advance(1);
    expect(marked()).toHaveLength(2);
    await chats.refresh();
    await server.clock.advance(1);
    expect(marked()).toHaveLength(2);
  });

  test('of an announcement are estimated at once and counted soon after', async () => {
    const { all, server, chats, a } = await counted();
    chats.touch({ chatId: 'a', seq: 6, time: new Date(Date.UTC(2026, 0, 2)), lastMessage: messageAt(6) });
    expect(a()?.unread).toBe(4);
    all[0] = { ...chat('a', 9, 8), unread: 6, mentions: 2, preview: 'three at once' };
    await server.clock.advance(2_500);
    expect(a()).toMatchObject({ unread: 6, mentions: 2, preview: 'three at once' });
  });

  test('are counted, and the preview is read, soon after a deletion', async () => {
    const { all, server, a } = await counted();
    const [socket] = server.sockets;
    if (!socket) throw new Error('no socket');
    all[0] = { ...chat('a', 9, 6), unread: 2, mentions: 0, preview: 'the one before' };
    server.deliver(socket, 'msg-deleted', { chatId: 'a', epoch: 'e1', seq: 6, messageId: 'm' });
    await server.clock.advance(2_500);
    expect(a()).toMatchObject({ unread: 2, preview: 'the one before' });
  });

  test('are read by another device of the user, and by no other user', async () => {
    const { server, a } = await counted();
    const [socket] = server.sockets;
    if (!socket) throw new Error('no socket');
    server.deliver(socket, 'chat-read', { chatId: 'a', userId: 'bob', seq: 5 });
    await server.clock.advance(1);
    expect(a()?.unread).toBe(3);
    server.deliver(socket, 'chat-read', { chatId: 'a', userId: 'ada', seq: 5 });
    await server.clock.advance(1);
    expect(a()?.unread).toBe(0);
  });
});
