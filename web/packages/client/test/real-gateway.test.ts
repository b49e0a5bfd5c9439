/** The client against a real `roomcast up`. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import {
  type ChatMessage,
  type ChatSession,
  ConnectionState,
  createClient,
  type WebSocketClient,
} from '../src/index.ts';
import { eventually, RealServer, TcpProxy } from './support/real-server.ts';

let server: RealServer;

beforeAll(async () => {
  server = await RealServer.start({ ROOMCAST_BASE_PATH: '/chat' });
}, 40_000);

afterAll(() => server.stop());

function newClient(gatewayUrl?: string): WebSocketClient {
  const client = createClient({ apiUrl: server.apiUrl, ...(gatewayUrl && { gatewayUrl }) });
  onTestFinished(() => client.close());
  return client;
}

function show(client: WebSocketClient, chatId: string): ChatSession {
  const chat = client.chat(chatId);
  onTestFinished(chat.subscribe(() => undefined));
  return chat;
}

function contents(chat: ChatSession): string[] {
  return chat.getSnapshot().messages.map(({ content }) => content);
}

function expectSynced(chat: ChatSession): Promise<void> {
  return eventually(() => expect(chat.getSnapshot()).toMatchObject({ synced: true, status: 'ready' }));
}

describe('one gateway', () => {
  test('a user who wrote in a chat receives its chat-activity in order without joining it', async () => {
    const [ada, bob] = [newClient(), newClient()];
    await Promise.all([ada.connect('ada'), bob.connect('bob')]);
    const [first] = await Promise.all([bob.sendMessage('left', 'bye'), ada.sendMessage('other', 'mine')]);
    expect(first).toMatchObject({ status: 'sent', seq: 1 });
    const received: number[] = [];
    bob.on('chat-activity', ({ chatId, seq }) => chatId === 'left' && received.push(seq));
    onTestFinished(bob.chats.subscribe(() => undefined));
    await eventually(() => expect(bob.chats.getSnapshot().chats.map(({ id }) => id)).toContain('left'));
    for (let number = 2; number <= 30; number += 1) await ada.sendMessage('left', `m${number}`);
    await eventually(() => expect(received.at(-1)).toBe(30));
    expect(received.length).toBeLessThan(15);
    expect(received).toEqual([...received].sort((a, b) => a - b));
    expect(bob.chats.getSnapshot().chats[0]).toMatchObject({ id: 'left', lastSeq: 30 });
  });

  test('a client below the base path and one without it see the same messages', async () => {
    const below = createClient({ apiUrl: `${server.apiUrl}/chat/` });
    onTestFinished(() => below.close());
    const above = newClient();
    await Promise.all([below.connect('ada'), above.connect('bob')]);
    const [ofAda, ofBob] = [show(below, 'paths'), show(above, 'paths')];
    await Promise.all([expectSynced(ofAda), expectSynced(ofBob)]);
    await below.sendMessage('paths', 'from below');
    await eventually(() => expect(contents(ofBob)).toEqual(['from below']));
    expect(contents(ofAda)).toEqual(['from below']);
  });

  test('two users see the same messages once and in the same order', async () => {
    const [ada, bob] = [newClient(), newClient()];
    await Promise.all([ada.connect('ada'), bob.connect('bob')]);
    const [ofAda, ofBob] = [show(ada, 'two'), show(bob, 'two')];
    await Promise.all([expectSynced(ofAda), expectSynced(ofBob)]);
    const sent = Array.from({ length: 20 }, (_, index) => (index % 2 ? ofBob : ofAda).send(`m${index}`));
    const entries = await Promise.all(sent);
    expect(entries.map(({ status }) => status)).toEqual(entries.map(() => 'sent'));
    await eventually(() => {
      expect(contents(ofAda)).toHaveLength(20);
      expect(contents(ofBob)).toEqual(contents(ofAda));
    });
    // One request at a time: the own messages of a user keep their order.
    expect(contents(ofAda).filter((content) => Number(content.slice(1)) % 2 === 0)).toEqual(
      Array.from({ length: 10 }, (_, index) => `m${index * 2}`),
    );
    expect(ofAda.getSnapshot().messages[0]?.userId).toMatch(/ada|bob/);
  });

  test('messages that are stored during a network failure arrive after it', async () => {
    const proxy = await TcpProxy.to(server.gatewayPort);
    const client = newClient(proxy.url);
    const states: ConnectionState[] = [];
    client.on('state', (state) => states.push(state));
    await client.connect('ada');
    const chat = show(client, 'cut');
    await expectSynced(chat);
    proxy.cut();
    await eventually(() => expect(client.connectionState).toBe(ConnectionState.RECONNECTING));
    for (let index = 0; index < 5; index += 1) await server.post('cut', `while offline ${index}`);
    expect(contents(chat)).toEqual([]);
    proxy.restore();
    await eventually(() => expect(contents(chat)).toEqual([0, 1, 2, 3, 4].map((index) => `while offline ${index}`)));
    expect(states).toEqual(['connecting', 'connected', 'reconnecting', 'connected']);
  });

  test('the guide’s handlers receive missed messages once, with Dates', async () => {
    const proxy = await TcpProxy.to(server.gatewayPort);
    const client = newClient(proxy.url);
    const seen: ChatMessage[] = [];
    client.on('new-msg', (message) => seen.push(message));
    client.joinChat('guide'); // Before the connection: joined once connected.
    await client.connect('ada');
    expect(await client.ping()).toBe('pong');
    let posted = 0;
    // joinChat reports no completion, so messages are posted until the first one arrives.
    await vi.waitFor(async () => {
      await server.post('guide', `m${(posted += 1)}`);
      expect(seen.length).toBeGreaterThan(0);
    });
    proxy.cut();
    await eventually(() => expect(client.isConnected).toBe(false));
    await server.post('guide', `m${(posted += 1)}`);
    proxy.restore();
    await eventually(() => expect(seen.at(-1)?.content).toBe(`m${posted}`));
    const first = Number(seen[0]?.content.slice(1));
    expect(seen.map(({ content }) => content)).toEqual(seen.map((_, index) => `m${first + index}`));
    expect(seen[0]?.time).toBeInstanceOf(Date);
  });

  test('history loads backwards, page by page', async () => {
    for (let index = 1; index <= 12; index += 1) await server.post('history', `m${index}`);
    const client = createClient({ apiUrl: server.apiUrl, pageSize: 5 });
    onTestFinished(() => client.close());
    const chat = show(client, 'history');
    await eventually(() => expect(contents(chat)).toEqual(['m8', 'm9', 'm10', 'm11', 'm12']));
    await chat.loadOlder();
    expect(contents(chat)).toHaveLength(10);
    await chat.loadOlder();
    expect(contents(chat)).toHaveLength(12);
    expect(contents(chat)[0]).toBe('m1');
    expect(chat.getSnapshot().hasOlder).toBe(false);
  });

  test('chats are created and listed by activity; a used id is rejected', async () => {
    const client = newClient();
    onTestFinished(client.chats.subscribe(() => undefined));
    const chat = await client.chats.createChat({ id: 'listed', title: 'Listed' });
    expect(chat).toMatchObject({ id: 'listed', title: 'Listed', lastSeq: 0 });
    await expect(client.chats.createChat({ id: 'listed' })).rejects.toMatchObject({
      status: 409,
      code: 'chat-exists',
      retryable: false,
    });
    await client.chats.refresh();
    expect(client.chats.getSnapshot().chats[0]?.id).toBe('listed');
  });

  test('a message that the server rejects fails at once with its error, and the next one is sent', async () => {
    const client = newClient();
    await client.connect('ada');
    const chat = show(client, 'refused');
    const [bad, good] = await Promise.all([chat.send('nul \u0000'), chat.send('fine')]);
    expect(bad).toMatchObject({ status: 'failed', error: { status: 422, code: 'invalid' } });
    expect(good.status).toBe('sent');
    await eventually(() => expect(contents(chat)).toEqual(['fine', 'nul \u0000']));
    chat.discard(bad.key);
    expect(contents(chat)).toEqual(['fine']);
  });
});

describe('a server that stops', () => {
  test('a kill loses no acknowledged message, and deleted data disappears', async () => {
    const client = newClient();
    await client.connect('ada');
    const chat = show(client, 'restart');
    await expectSynced(chat);
    await chat.send('before');
    await server.down('SIGKILL');
    await eventually(() => expect(client.connectionState).toBe(ConnectionState.RECONNECTING));
    const during = chat.send('during');
    expect(chat.getSnapshot().messages.at(-1)).toMatchObject({ content: 'during', status: 'sending' });
    await server.up();
    expect((await during).status).toBe('sent');
    await expectSynced(chat);
    await eventually(() => expect(contents(chat)).toEqual(['before', 'during']));

    await server.down();
    server.deleteData();
    await server.up();
    await server.post('restart', 'first again');
    await eventually(() => expect(contents(chat)).toEqual(['first again']));
    await expectSynced(chat);
    await server.post('restart', 'second again');
    await eventually(() => expect(contents(chat)).toEqual(['first again', 'second again']));
  }, 60_000);
});
