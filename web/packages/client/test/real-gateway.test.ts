/** The client against a real `roomcast up`. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import {
  type ChatMessage,
  type ChatSession,
  ConnectionState,
  createClient,
  type WebSocketClient,
} from '../src/index.ts';
import { RealServer, Wire } from './support/real-server.ts';

let server: RealServer;

beforeAll(async () => {
  server = await RealServer.start();
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

async function eventually(check: () => void): Promise<void> {
  await vi.waitFor(check, { timeout: 15_000, interval: 20 });
}

function isSynced(chat: ChatSession): Promise<void> {
  return eventually(() => expect(chat.getSnapshot()).toMatchObject({ synced: true, status: 'ready' }));
}

describe('one gateway', () => {
  test('who wrote in a chat and follows it no more hears of what is new there, in order, without asking', async () => {
    const [ada, bob] = [newClient(), newClient()];
    await Promise.all([ada.connect('ada'), bob.connect('bob')]);
    const [first] = await Promise.all([bob.sendMessage('left', 'bye'), ada.sendMessage('other', 'mine')]);
    expect(first).toMatchObject({ status: 'sent', seq: 1 });
    const heard: number[] = [];
    bob.on('chat-activity', ({ chatId, seq }) => chatId === 'left' && heard.push(seq));
    onTestFinished(bob.chats.subscribe(() => undefined));
    await eventually(() => expect(bob.chats.getSnapshot().chats.map(({ id }) => id)).toContain('left'));
    for (let number = 2; number <= 30; number += 1) await ada.sendMessage('left', `m${number}`);
    await eventually(() => expect(heard.at(-1)).toBe(30));
    expect(heard.length).toBeLessThan(15);
    expect(heard).toEqual([...heard].sort((a, b) => a - b));
    expect(bob.chats.getSnapshot().chats[0]).toMatchObject({ id: 'left', lastSeq: 30 });
  });

  test('two people see the same messages in the same order, each once', async () => {
    const [ada, bob] = [newClient(), newClient()];
    await Promise.all([ada.connect('ada'), bob.connect('bob')]);
    const [hers, his] = [show(ada, 'two'), show(bob, 'two')];
    await Promise.all([isSynced(hers), isSynced(his)]);
    const sent = Array.from({ length: 20 }, (_, index) => (index % 2 ? his : hers).send(`m${index}`));
    const entries = await Promise.all(sent);
    expect(entries.map(({ status }) => status)).toEqual(entries.map(() => 'sent'));
    await eventually(() => {
      expect(contents(hers)).toHaveLength(20);
      expect(contents(his)).toEqual(contents(hers));
    });
    // One in flight: a person's own messages keep their order.
    expect(contents(hers).filter((content) => Number(content.slice(1)) % 2 === 0)).toEqual(
      Array.from({ length: 10 }, (_, index) => `m${index * 2}`),
    );
    expect(hers.getSnapshot().messages[0]?.userId).toMatch(/ada|bob/);
  });

  test('what is sent while the network is cut arrives after it', async () => {
    const wire = await Wire.to(server.gatewayPort);
    const client = newClient(wire.url);
    const states: ConnectionState[] = [];
    client.on('state', (state) => states.push(state));
    await client.connect('ada');
    const chat = show(client, 'cut');
    await isSynced(chat);
    wire.cut();
    await eventually(() => expect(client.connectionState).toBe(ConnectionState.RECONNECTING));
    for (let index = 0; index < 5; index += 1) await server.post('cut', `while away ${index}`);
    expect(contents(chat)).toEqual([]);
    wire.mend();
    await eventually(() => expect(contents(chat)).toEqual([0, 1, 2, 3, 4].map((index) => `while away ${index}`)));
    expect(states).toEqual(['connecting', 'connected', 'reconnecting', 'connected']);
  });

  test('the guide’s handlers get what was missed, once, with Dates', async () => {
    const wire = await Wire.to(server.gatewayPort);
    const client = newClient(wire.url);
    const seen: ChatMessage[] = [];
    client.on('new-msg', (message) => seen.push(message));
    client.joinChat('guide'); // Before there is a connection: remembered.
    await client.connect('ada');
    expect(await client.ping()).toBe('pong');
    let posted = 0;
    // Nothing says that the join is done: posted until the first one comes.
    await vi.waitFor(async () => {
      await server.post('guide', `m${(posted += 1)}`);
      expect(seen.length).toBeGreaterThan(0);
    });
    wire.cut();
    await eventually(() => expect(client.isConnected).toBe(false));
    await server.post('guide', `m${(posted += 1)}`);
    wire.mend();
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

  test('chats are created, listed by activity, and an id is taken once', async () => {
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

  test('a message that the server refuses fails at once, says why, and the next one is sent', async () => {
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

describe('a process that goes away', () => {
  test('a kill loses nothing that was acknowledged, and deleted data shows as deleted', async () => {
    const client = newClient();
    await client.connect('ada');
    const chat = show(client, 'restart');
    await isSynced(chat);
    await chat.send('before');
    await server.down('SIGKILL');
    await eventually(() => expect(client.connectionState).toBe(ConnectionState.RECONNECTING));
    const during = chat.send('during');
    expect(chat.getSnapshot().messages.at(-1)).toMatchObject({ content: 'during', status: 'sending' });
    await server.up();
    expect((await during).status).toBe('sent');
    await isSynced(chat);
    await eventually(() => expect(contents(chat)).toEqual(['before', 'during']));

    await server.down();
    server.deleteData();
    await server.up();
    await server.post('restart', 'a new world');
    await eventually(() => expect(contents(chat)).toEqual(['a new world']));
    await isSynced(chat);
    await server.post('restart', 'goes on');
    await eventually(() => expect(contents(chat)).toEqual(['a new world', 'goes on']));
  }, 60_000);
});
