/** Who is there and who writes, as one client sees it and tells it. */
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

function types(server: FakeServer, userId: string, typing = true): void {
  server.tell(CHAT, 'typing', { userId, typing });
}

function presence(server: FakeServer, online: string[], offline: string[] = [], reset = false): void {
  server.tell(CHAT, 'presence', { online, offline, reset });
}

/** What the others were told of one's typing. */
function told(server: FakeServer): unknown[] {
  return server.sockets
    .flatMap(({ sent }) => sent)
    .flatMap(([event, payload]) => (event === 'typing' ? [payload] : []));
}

const YES = { chatId: CHAT, typing: true };
const NO = { chatId: CHAT, typing: false };

describe('who is there', () => {
  test('is a full picture first, then changes', async () => {
    const { server, chat } = await setUp();
    expect(chat.getPresence()).toEqual({ online: [], stale: true });
    presence(server, ['bob', 'ada'], [], true);
    expect(chat.getPresence()).toEqual({ online: ['ada', 'bob'], stale: false });
    presence(server, ['cleo'], ['bob']);
    expect(chat.getPresence()).toEqual({ online: ['ada', 'cleo'], stale: false });
    presence(server, ['dave'], [], true);
    expect(chat.getPresence().online).toEqual(['dave']);
  });

  test('is taken from a server that means something else by these names as it is: handed on, not shown', async () => {
    const { server, client, chat } = await setUp();
    const heard: unknown[] = [];
    onTestFinished(client.on('presence', (data) => heard.push(data)));
    onTestFinished(client.on('typing', (data) => heard.push(data)));
    server.tell(CHAT, 'presence', { status: 'away' });
    server.tell(CHAT, 'presence', { online: [1], offline: [] });
    server.tell(CHAT, 'typing', { who: 'bob', typing: true });
    expect(heard).toHaveLength(3);
    expect(chat.getPresence()).toEqual({ online: [], stale: true });
    expect(chat.getTyping()).toEqual([]);
  });

  test('is bounded, whatever the server says', async () => {
    const { server, chat } = await setUp();
    presence(
      server,
      Array.from({ length: 6_000 }, (_, index) => `u${index}`),
      [],
      true,
    );
    expect(chat.getPresence().online).toHaveLength(5_000);
  });

  test('stays the same object while nothing changes', async () => {
    const { server, chat } = await setUp();
    presence(server, ['ada'], [], true);
    const before = chat.getPresence();
    presence(server, ['ada'], ['nobody']);
    presence(server, ['ada'], [], true);
    expect(chat.getPresence()).toBe(before);
  });

  test('is kept as last known while the connection is away, and whole again with the next full picture', async () => {
    const { server, chat } = await setUp();
    presence(server, ['ada', 'bob'], [], true);
    server.cut();
    expect(chat.getPresence()).toEqual({ online: ['ada', 'bob'], stale: true });
    await server.clock.advance(2_000);
    presence(server, ['cleo']); // a change that came ahead of it
    expect(chat.getPresence()).toEqual({ online: ['ada', 'bob', 'cleo'], stale: true });
    presence(server, ['ada', 'cleo'], [], true);
    expect(chat.getPresence()).toEqual({ online: ['ada', 'cleo'], stale: false });
  });

  test('is not shown to the next person of this client', async () => {
    const { server, client, chat } = await setUp();
    presence(server, ['ada', 'bob'], [], true);
    types(server, 'bob');
    client.acquire('eve');
    await server.clock.advance(1_000);
    expect(chat.getPresence()).toEqual({ online: [], stale: true });
    expect(chat.getTyping()).toEqual([]);
  });

  test('is told to whoever asks for it alone: the chat is then followed without being loaded', async () => {
    const { server, client } = await setUp();
    const other = client.chat('other');
    const leave = other.subscribePresence(() => undefined);
    await server.clock.advance(10);
    server.tell('other', 'presence', { online: ['bob'], offline: [], reset: true });
    expect(other.getPresence().online).toEqual(['bob']);
    expect(server.requests.filter(({ path }) => path.includes('/other/'))).toEqual([]);
    leave();
    await server.clock.advance(10);
    expect(server.socket.rooms.has('other')).toBe(false);
  });
});

describe('who writes', () => {
  test('is shown in the order of beginning, without oneself, and forgotten after 6 s without a repeat', async () => {
    const { server, chat } = await setUp();
    types(server, 'bob');
    await server.clock.advance(1_000);
    types(server, 'cleo');
    types(server, 'ada');
    expect(chat.getTyping()).toEqual(['bob', 'cleo']);
    const before = chat.getTyping();
    await server.clock.advance(3_000);
    types(server, 'bob');
    expect(chat.getTyping()).toBe(before);
    await server.clock.advance(2_999);
    expect(chat.getTyping()).toEqual(['bob', 'cleo']);
    await server.clock.advance(1);
    expect(chat.getTyping()).toEqual(['bob']);
    await server.clock.advance(3_000);
    expect(chat.getTyping()).toEqual([]);
  });

  test('ends when they say so, when their message comes, when they go, and when the connection is lost', async () => {
    const { server, chat } = await setUp();
    presence(server, ['ada', 'bob', 'cleo', 'dave', 'eve'], [], true);
    for (const userId of ['bob', 'cleo', 'dave', 'eve', 'fay']) types(server, userId);
    types(server, 'bob', false);
    expect(chat.getTyping()).toEqual(['cleo', 'dave', 'eve', 'fay']);
    server.post(CHAT, 'hello', { userId: 'cleo' });
    expect(chat.getTyping()).toEqual(['dave', 'eve', 'fay']);
    presence(server, [], ['dave']);
    expect(chat.getTyping()).toEqual(['eve', 'fay']);
    presence(server, ['ada', 'eve'], [], true);
    expect(chat.getTyping()).toEqual(['eve']);
    server.cut();
    expect(chat.getTyping()).toEqual([]);
  });

  test('is bounded, whatever the gateway tells', async () => {
    const { server, chat } = await setUp();
    for (let number = 0; number < 1_000; number += 1) types(server, `u${number}`);
    expect(chat.getTyping()).toHaveLength(50);
    await server.clock.advance(6_000);
    expect(chat.getTyping()).toEqual([]);
  });

  test('is handed on as it came, too', async () => {
    const { server, client } = await setUp();
    const heard: unknown[] = [];
    client.on('typing', (typing) => heard.push(typing));
    client.on('presence', (change) => heard.push(change));
    types(server, 'bob');
    presence(server, ['bob']);
    expect(heard).toEqual([
      { chatId: CHAT, userId: 'bob', typing: true },
      { chatId: CHAT, online: ['bob'], offline: [], reset: false },
    ]);
  });
});

describe('one’s own typing', () => {
  test('is told at once, then every 3 s at most, and its end after 4 s without a keystroke', async () => {
    const { server, chat } = await setUp();
    for (let keystroke = 0; keystroke < 70; keystroke += 1) {
      chat.setTyping(true);
      await server.clock.advance(100);
    }
    expect(told(server)).toEqual([YES, YES, YES]);
    await server.clock.advance(3_900);
    expect(told(server)).toEqual([YES, YES, YES, NO]);
    await server.clock.advance(10_000);
    expect(told(server)).toHaveLength(4);
  });

  test('ends with the message, and with an empty field, once', async () => {
    const { server, chat } = await setUp();
    chat.setTyping(false);
    chat.setTyping(true);
    await chat.send('hello');
    chat.setTyping(false);
    chat.setTyping(true);
    chat.setTyping(false);
    await server.clock.advance(5_000);
    expect(told(server)).toEqual([YES, NO, YES, NO]);
  });

  test('is told to nobody while there is no connection, and again once there is', async () => {
    const { server, chat } = await setUp();
    chat.setTyping(true);
    server.cut();
    chat.setTyping(true);
    chat.setTyping(false);
    chat.setTyping(true);
    await server.clock.advance(2_000);
    expect(told(server)).toEqual([YES]);
    chat.setTyping(true);
    expect(told(server)).toEqual([YES, YES]);
  });

  test('ends with the chat that is left', async () => {
    const { server, chat, leave } = await setUp();
    chat.setTyping(true);
    leave();
    await server.clock.advance(10);
    expect(server.socket.sent.slice(-2)).toEqual([
      ['typing', NO],
      ['leave-chat', CHAT],
    ]);
    chat.setTyping(true);
    await server.clock.advance(10_000);
    expect(told(server)).toEqual([YES, NO]);
  });
});
