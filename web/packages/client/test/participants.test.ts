/** Presence and typing of one chat. */
import { describe, expect, onTestFinished, test } from 'vitest';
import { type ChatSession, createClient, type WebSocketClient } from '../src/index.ts';
import { FakeServer } from './support/fake-server.ts';

const CHAT = 'c';

async function setUp(): Promise<{ server: FakeServer; client: WebSocketClient; chat: ChatSession; leave: () => void }> {
  const server = new FakeServer();
  const client = createClient({ runtime: server.runtime });
  onTestFinished(() => client.close());
  client.acquire('ada');
  const chat = client.chat(CHAT);
  const leave = chat.subscribe(() => undefined);
  onTestFinished(leave);
  await server.clock.advance(400);
  return { server, client, chat, leave };
}

function receiveTyping(server: FakeServer, userId: string, typing = true): void {
  server.sendToRoom(CHAT, 'typing', { userId, typing });
}

function receivePresence(server: FakeServer, online: string[], offline: string[] = [], reset = false): void {
  server.sendToRoom(CHAT, 'presence', { online, offline, reset });
}

/** Typing notifications that the client sent. */
function sentTyping(server: FakeServer): unknown[] {
  return server.sockets
    .flatMap(({ sent }) => sent)
    .flatMap(([event, payload]) => (event === 'typing' ? [payload] : []));
}

const STARTED = { chatId: CHAT, typing: true };
const STOPPED = { chatId: CHAT, typing: false };

describe('presence', () => {
  test('is a full list first, then changes', async () => {
    const { server, chat } = await setUp();
    expect(chat.getPresence()).toEqual({ online: [], stale: true });
    receivePresence(server, ['bob', 'ada'], [], true);
    expect(chat.getPresence()).toEqual({ online: ['ada', 'bob'], stale: false });
    receivePresence(server, ['cleo'], ['bob']);
    expect(chat.getPresence()).toEqual({ online: ['ada', 'cleo'], stale: false });
    receivePresence(server, ['dave'], [], true);
    expect(chat.getPresence().online).toEqual(['dave']);
  });

  test('and typing events of another shape are emitted but not applied', async () => {
    const { server, client, chat } = await setUp();
    const received: unknown[] = [];
    onTestFinished(client.on('presence', (data) => received.push(data)));
    onTestFinished(client.on('typing', (data) => received.push(data)));
    server.sendToRoom(CHAT, 'presence', { status: 'away' });
    server.sendToRoom(CHAT, 'presence', { online: [1], offline: [] });
    server.sendToRoom(CHAT, 'typing', { who: 'bob', typing: true });
    expect(received).toHaveLength(3);
    expect(chat.getPresence()).toEqual({ online: [], stale: true });
    expect(chat.getTyping()).toEqual([]);
  });

  test('is bounded against a misbehaving gateway', async () => {
    const { server, chat } = await setUp();
    receivePresence(
      server,
      Array.from({ length: 6_000 }, (_, index) => `u${index}`),
      [],
      true,
    );
    expect(chat.getPresence().online).toHaveLength(5_000);
  });

  test('remains the same object while it is unchanged', async () => {
    const { server, chat } = await setUp();
    receivePresence(server, ['ada'], [], true);
    const before = chat.getPresence();
    receivePresence(server, ['ada'], ['absent']);
    receivePresence(server, ['ada'], [], true);
    expect(chat.getPresence()).toBe(before);
  });

  test('is stale after the connection closed, until the next full list', async () => {
    const { server, chat } = await setUp();
    receivePresence(server, ['ada', 'bob'], [], true);
    server.cut();
    expect(chat.getPresence()).toEqual({ online: ['ada', 'bob'], stale: true });
    await server.clock.advance(2_000);
    receivePresence(server, ['cleo']); // a change before the full list
    expect(chat.getPresence()).toEqual({ online: ['ada', 'bob', 'cleo'], stale: true });
    receivePresence(server, ['ada', 'cleo'], [], true);
    expect(chat.getPresence()).toEqual({ online: ['ada', 'cleo'], stale: false });
  });

  test('is not shown to the next user of the client', async () => {
    const { server, client, chat } = await setUp();
    receivePresence(server, ['ada', 'bob'], [], true);
    receiveTyping(server, 'bob');
    client.acquire('eve');
    await server.clock.advance(1_000);
    expect(chat.getPresence()).toEqual({ online: [], stale: true });
    expect(chat.getTyping()).toEqual([]);
  });

  test('can be subscribed alone: the chat is then joined without being loaded', async () => {
    const { server, client } = await setUp();
    const other = client.chat('other');
    const leave = other.subscribePresence(() => undefined);
    await server.clock.advance(10);
    server.sendToRoom('other', 'presence', { online: ['bob'], offline: [], reset: true });
    expect(other.getPresence().online).toEqual(['bob']);
    expect(server.requests.filter(({ path }) => path.includes('/other/'))).toEqual([]);
    leave();
    await server.clock.advance(10);
    expect(server.socket.rooms.has('other')).toBe(false);
  });
});

describe('typing users', () => {
  test('are listed in the order in which they started, without the own user, and expire after 6 s', async () => {
    const { server, chat } = await setUp();
    receiveTyping(server, 'bob');
    await server.clock.advance(1_000);
    receiveTyping(server, 'cleo');
    receiveTyping(server, 'ada');
    expect(chat.getTyping()).toEqual(['bob', 'cleo']);
    const before = chat.getTyping();
    await server.clock.advance(3_000);
    receiveTyping(server, 'bob');
    expect(chat.getTyping()).toBe(before);
    await server.clock.advance(2_999);
    expect(chat.getTyping()).toEqual(['bob', 'cleo']);
    await server.clock.advance(1);
    expect(chat.getTyping()).toEqual(['bob']);
    await server.clock.advance(3_000);
    expect(chat.getTyping()).toEqual([]);
  });

  test('are removed by typing: false, their message, their going offline, and a closed connection', async () => {
    const { server, chat } = await setUp();
    receivePresence(server, ['ada', 'bob', 'cleo', 'dave', 'eve'], [], true);
    for (const userId of ['bob', 'cleo', 'dave', 'eve', 'fay']) receiveTyping(server, userId);
    receiveTyping(server, 'bob', false);
    expect(chat.getTyping()).toEqual(['cleo', 'dave', 'eve', 'fay']);
    server.post(CHAT, 'hello', { userId: 'cleo' });
    expect(chat.getTyping()).toEqual(['dave', 'eve', 'fay']);
    receivePresence(server, [], ['dave']);
    expect(chat.getTyping()).toEqual(['eve', 'fay']);
    receivePresence(server, ['ada', 'eve'], [], true);
    expect(chat.getTyping()).toEqual(['eve']);
    server.cut();
    expect(chat.getTyping()).toEqual([]);
  });

  test('are bounded against a misbehaving gateway', async () => {
    const { server, chat } = await setUp();
    for (let number = 0; number < 1_000; number += 1) receiveTyping(server, `u${number}`);
    expect(chat.getTyping()).toHaveLength(50);
    await server.clock.advance(6_000);
    expect(chat.getTyping()).toEqual([]);
  });

  test('and presence changes are also emitted unchanged', async () => {
    const { server, client } = await setUp();
    const received: unknown[] = [];
    client.on('typing', (typing) => received.push(typing));
    client.on('presence', (change) => received.push(change));
    receiveTyping(server, 'bob');
    receivePresence(server, ['bob']);
    expect(received).toEqual([
      { chatId: CHAT, userId: 'bob', typing: true },
      { chatId: CHAT, online: ['bob'], offline: [], reset: false },
    ]);
  });
});

describe('own typing', () => {
  test('is sent at once, then at most every 3 s, and ends 4 s after the last keystroke', async () => {
    const { server, chat } = await setUp();
    for (let keystroke = 0; keystroke < 70; keystroke += 1) {
      chat.setTyping(true);
      await server.clock.advance(100);
    }
    expect(sentTyping(server)).toEqual([STARTED, STARTED, STARTED]);
    await server.clock.advance(3_900);
    expect(sentTyping(server)).toEqual([STARTED, STARTED, STARTED, STOPPED]);
    await server.clock.advance(10_000);
    expect(sentTyping(server)).toHaveLength(4);
  });

  test('ends once, with the message or an empty field', async () => {
    const { server, chat } = await setUp();
    chat.setTyping(false);
    chat.setTyping(true);
    await chat.send('hello');
    chat.setTyping(false);
    chat.setTyping(true);
    chat.setTyping(false);
    await server.clock.advance(5_000);
    expect(sentTyping(server)).toEqual([STARTED, STOPPED, STARTED, STOPPED]);
  });

  test('is not sent without a connection, and again after the reconnect', async () => {
    const { server, chat } = await setUp();
    chat.setTyping(true);
    server.cut();
    chat.setTyping(true);
    chat.setTyping(false);
    chat.setTyping(true);
    await server.clock.advance(2_000);
    expect(sentTyping(server)).toEqual([STARTED]);
    chat.setTyping(true);
    expect(sentTyping(server)).toEqual([STARTED, STARTED]);
  });

  test('ends when the chat is left', async () => {
    const { server, chat, leave } = await setUp();
    chat.setTyping(true);
    leave();
    await server.clock.advance(10);
    expect(server.socket.sent.slice(-2)).toEqual([
      ['typing', STOPPED],
      ['leave-chat', CHAT],
    ]);
    chat.setTyping(true);
    await server.clock.advance(10_000);
    expect(sentTyping(server)).toEqual([STARTED, STOPPED]);
  });
});
