/** Signing out: nothing of the user remains in the client or in its storage. */
import { expect, onTestFinished, test } from 'vitest';
import { createClient, type WebSocketClient } from '../src/index.ts';
import { FakeServer, json } from './support/fake-server.ts';
import { MemoryStorage } from './support/memory-storage.ts';

const CHAT = 'c';

async function setUp(
  userId: string,
  storage = new MemoryStorage(),
): Promise<{ server: FakeServer; client: WebSocketClient }> {
  const server = new FakeServer();
  server.post(CHAT, 'public');
  server.intercept = (method, url) => {
    if (method === 'POST') return Promise.reject(new TypeError('failed to fetch'));
    return url.pathname === '/api/chats' ? json({ chats: [], nextCursor: null }) : undefined;
  };
  const client = createClient({ runtime: server.runtime, storage });
  onTestFinished(() => client.close());
  client.acquire(userId);
  onTestFinished(client.chat(CHAT).subscribe(() => undefined));
  onTestFinished(client.chats.subscribe(() => undefined));
  await server.clock.advance(400);
  return { server, client };
}

const contents = (client: WebSocketClient) =>
  client
    .chat(CHAT)
    .getSnapshot()
    .messages.map(({ content }) => content);

test('a forgotten user leaves no message in memory or storage, and nothing is requested before the next sign-in', async () => {
  const storage = new MemoryStorage();
  const { server, client } = await setUp('ada', storage);
  void client.sendMessage(CHAT, 'private');
  const settled = client.sendMessage('other', 'private too');
  storage.setItem('roomcast:unsent:c:ada:invalid', '{');
  storage.setItem('unrelated', 'value');
  expect(contents(client)).toEqual(['public', 'private']);
  expect(client.countUnsent('ada')).toBe(3);
  await server.clock.advance(1);

  client.forget('ada');
  expect((await settled).status).toBe('failed');
  expect(contents(client)).toEqual([]);
  expect(client.chat(CHAT).getSnapshot().status).toBe('idle');
  expect(client.countUnsent('ada')).toBe(0);
  expect([storage.length, storage.getItem('unrelated')]).toEqual([1, 'value']);
  const requests = server.requests.length;
  await server.clock.advance(60_000);
  expect(server.requests).toHaveLength(requests);

  // The views stay mounted, and show the chat to the next user.
  client.acquire('bob');
  await server.clock.advance(1_000);
  expect(contents(client)).toEqual(['public']);
  expect(client.chat(CHAT).getSnapshot().synced).toBe(true);
  expect(client.chats.getSnapshot().status).toBe('ready');
});

test('only the user’s own messages are counted and removed, whatever the ids contain', async () => {
  const users = ['a', 'a:b', ':a', 'a/b', '__proto__', 'a:'];
  const storage = new MemoryStorage();
  for (const user of users) {
    const { client } = await setUp(user, storage);
    void client.sendMessage(CHAT, `of ${user}`);
    client.close();
  }
  const { client } = await setUp('reader', storage);
  for (const [index, user] of users.entries()) {
    expect(client.countUnsent(user)).toBe(1);
    client.forget(user);
    expect(client.countUnsent(user)).toBe(0);
    expect(storage.length).toBe(users.length - index - 1);
  }
  expect(contents(client)).toEqual(['public']);
});

test('without a storage, or with one that throws, the messages in memory are counted', async () => {
  const storage = new MemoryStorage();
  storage.key = () => {
    throw new DOMException('damaged', 'SecurityError');
  };
  const { client } = await setUp('ada', storage);
  void client.sendMessage('other', 'private');
  expect(client.countUnsent('ada')).toBe(1);
  client.forget('ada');
  expect(client.countUnsent('ada')).toBe(0);
});
