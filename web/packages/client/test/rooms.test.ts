/** The guide's API: `joinChat` and `on('new-msg')`. */
import { expect, onTestFinished, test, vi } from 'vitest';
import { type ChatMessage, createClient, type WebSocketClient, websocket, websocketClient } from '../src/index.ts';
import { FakeServer, json, problem } from './support/fake-server.ts';

function setUp(): { server: FakeServer; client: WebSocketClient; seen: ChatMessage[] } {
  const server = new FakeServer();
  const client = createClient({ runtime: server.runtime });
  const seen: ChatMessage[] = [];
  client.on('new-msg', (message) => seen.push(message));
  onTestFinished(() => client.close());
  return { server, client, seen };
}

test('joinChat before connect takes effect once connected, with the guide’s payload', async () => {
  const { server, client, seen } = setUp();
  client.joinChat('c');
  client.joinChat('c');
  void client.connect('ada');
  await server.clock.advance(50);
  expect(server.socket.sent).toEqual([
    ['join-user', 'ada'],
    ['join-chat', 'c'],
  ]);
  server.post('c', 'hello');
  expect(seen.map(({ content }) => content)).toEqual(['hello']);
  expect(seen[0]?.time).toBeInstanceOf(Date);
});

test('a chat is joined again after a reconnect, and missed messages are delivered first', async () => {
  const { server, client, seen } = setUp();
  void client.connect('ada');
  client.joinChat('c');
  await server.clock.advance(50);
  server.post('c', 'one');
  server.cut();
  server.post('c', 'two');
  await server.clock.advance(2_000);
  server.post('c', 'three');
  expect(seen.map(({ content }) => content)).toEqual(['one', 'two', 'three']);
});

test('an event of an application is announced once and in order, also if it was missed', async () => {
  const { server, client, seen } = setUp();
  const custom: unknown[] = [];
  client.on('custom', ({ id, name, data }) => custom.push([id, name, data]));
  void client.connect('ada');
  client.joinChat('c');
  await server.clock.advance(50);
  const store = (fields: object): void =>
    server.store('c', 'custom', { chatId: 'c', epoch: server.epoch, seq: server.head('c') + 1, ...fields });
  server.post('c', 'one');
  store({ id: 'e-1', name: 'order.paid', data: { total: 42 } });
  expect(custom).toHaveLength(1);
  server.cut();
  store({ id: 'e-2', name: 'order.sent', data: {} });
  await server.clock.advance(2_000);
  server.post('c', 'two');
  expect(custom).toEqual([
    ['e-1', 'order.paid', { total: 42 }],
    ['e-2', 'order.sent', {}],
  ]);
  expect(seen.map(({ content }) => content)).toEqual(['one', 'two']);
});

test('events that cannot be fetched are reported as an error, and later ones are delivered', async () => {
  const { server, client, seen } = setUp();
  const errors: string[] = [];
  client.on('error', ({ message }) => errors.push(message));
  server.replayLimit = 0;
  void client.connect('ada');
  client.joinChat('c');
  await server.clock.advance(50);
  server.intercept = (_method, url) => (url.pathname.endsWith('/events') ? problem(404, 'not-found') : undefined);
  server.cut();
  server.post('c', 'missed');
  await server.clock.advance(2_000);
  server.post('c', 'next');
  expect(errors).toEqual([expect.stringContaining('up to 1 could not be fetched')]);
  expect(seen.map(({ content }) => content)).toEqual(['next']);
});

test('a message is announced once, even if a lagging snapshot causes a backfill of it', async () => {
  const { server, client, seen } = setUp();
  void client.connect('ada');
  client.joinChat('c');
  await server.clock.advance(50);
  server.post('c', 'one');
  server.post('c', 'two');
  server.intercept = (_method, url) =>
    url.pathname.endsWith('/messages')
      ? json({ epoch: server.epoch, seq: 0, messages: [], hasMore: false })
      : undefined;
  onTestFinished(client.chat('c').subscribe(() => undefined));
  await server.clock.advance(1_000);
  expect(client.chat('c').getSnapshot().messages).toHaveLength(2);
  expect(seen).toHaveLength(2);
});

test('an unknown event moves the cursor and reaches no handler', async () => {
  const { server, client, seen } = setUp();
  void client.connect('ada');
  client.joinChat('c');
  await server.clock.advance(50);
  server.postUnknown('c');
  server.post('c', 'after');
  expect(seen).toHaveLength(1);
  expect(server.requests.filter(({ path }) => path.includes('/events'))).toEqual([]);
});

test('a message without a seq, as the guide’s server publishes it, reaches the handlers', async () => {
  const { server, client, seen } = setUp();
  void client.connect('ada');
  await server.clock.advance(50);
  server.socket.receive('new-msg', { id: '1', role: 'AI', content: 'hi', time: '2026-01-02T03:04:05.000Z' });
  expect(seen).toEqual([{ id: '1', role: 'AI', content: 'hi', time: new Date('2026-01-02T03:04:05.000Z') }]);
});

test('a message that is not stored is shown, moves no cursor, and is not announced after the stored one', async () => {
  const { server, client, seen } = setUp();
  void client.connect('ada');
  const chat = client.chat('c');
  chat.subscribe(() => undefined);
  client.joinChat('c');
  await server.clock.advance(50);
  const live = { id: 'x', role: 'AI', content: 'live', time: '2026-01-02T03:04:05.000Z', chatId: 'c' };
  server.socket.receive('new-msg', live);
  server.post('c', 'stored');
  const contents = () => chat.getSnapshot().messages.map(({ content, status }) => [content, status]);
  expect(contents()).toEqual([
    ['live', 'live'],
    ['stored', 'sent'],
  ]);
  expect(chat.getSnapshot().synced).toBe(true);
  const stored = chat.getSnapshot().messages[1];
  server.socket.receive('new-msg', { ...live, id: stored?.id });
  for (const invalid of [{ role: 'OTHER' }, { content: 7 }, { time: 'soon' }, { id: null }, { userId: {} }])
    server.socket.receive('new-msg', { ...live, ...invalid });
  expect(contents()).toHaveLength(2);
  expect(seen.slice(0, 2).map(({ content }) => content)).toEqual(['live', 'stored']);
  expect(seen).toHaveLength(7); // Handlers receive whatever the guide's channel has.
});

test('leaveChat and disconnect end joinChat', async () => {
  const { server, client, seen } = setUp();
  void client.connect('ada');
  client.joinChat('a');
  client.joinChat('b');
  await server.clock.advance(50);
  client.leaveChat('a');
  await server.clock.advance(1);
  expect(server.socket.rooms).toEqual(new Set(['b']));
  client.disconnect();
  void client.connect('ada');
  await server.clock.advance(1_000);
  expect(server.socket.rooms.size).toBe(0);
  server.post('b', 'after leaving');
  expect(seen).toEqual([]);
});

test('error events of the server reach the error handlers', async () => {
  const { server, client } = setUp();
  const onError = vi.fn();
  client.on('error', onError);
  void client.connect('ada');
  await server.clock.advance(50);
  server.socket.receive('error', { code: 'invalid', message: 'no' });
  server.socket.receive('error', null);
  expect(onError.mock.calls).toEqual([[{ code: 'invalid', message: 'no' }], [{ message: 'error' }]]);
});

test('the convenience object delegates to the singleton', () => {
  expect(websocket.isConnected).toBe(false);
  expect(websocket.connectionState).toBe(websocketClient.connectionState);
  const handler = vi.fn();
  websocket.on('new-msg', handler)();
  websocket.joinChat('c');
  websocket.disconnect();
});
