/** The client against a real `roomcast up` with authentication enabled. */
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { type ClientOptions, ConnectionState, createClient, type WebSocketClient } from '../src/index.ts';
import { platformRuntime } from '../src/platform/runtime.ts';
import { eventually, RealServer } from './support/real-server.ts';

const SHORT_TTL_S = 3;
/** A gateway accepts a token for this long after its expiry. */
const LEEWAY_MS = 5_000;
/** As in an application, a token is renewed some time before it expires. */
const RENEW_AFTER_MS = 1_500;

let server: RealServer;

beforeAll(async () => {
  server = await RealServer.start({ ROOMCAST_SECRET: 'a-secret-for-tests-of-32-bytes-or-more' });
}, 40_000);

afterAll(() => server.stop());

function newClient(options: ClientOptions): WebSocketClient {
  const client = createClient({ apiUrl: server.apiUrl, gatewayUrl: server.gatewayUrl, ...options });
  onTestFinished(() => client.close());
  return client;
}

test('without a token the gateway rejects the connection, and the client does not retry', async () => {
  const client = newClient({});
  await expect(client.connect('ada')).rejects.toMatchObject({ name: 'RefusedError', code: 'unauthorized' });
  expect(client.connectionState).toBe(ConnectionState.DISCONNECTED);
});

test('a member can chat; the join and the messages of another user are rejected', async () => {
  const ada = newClient({ auth: { token: server.token('ada') } });
  const eve = newClient({ auth: { token: server.token('eve') } });
  await Promise.all([ada.connect('ada'), eve.connect('eve')]);
  const { id } = await ada.chats.createChat();
  const [ofMember, ofStranger] = [ada.chat(id), eve.chat(id)];
  onTestFinished(ofMember.subscribe(() => undefined));
  onTestFinished(ofStranger.subscribe(() => undefined));
  expect(await ofMember.send('secret')).toMatchObject({ status: 'sent', userId: 'ada' });
  await eventually(() => expect(ofMember.getSnapshot().synced).toBe(true));
  await eventually(() =>
    expect(ofStranger.getSnapshot()).toMatchObject({ status: 'error', synced: false, messages: [] }),
  );
  expect(await eve.sendMessage(id, 'let me in')).toMatchObject({ status: 'failed' });
});

test('a new member receives chat-activity without joining the chat; another user does not', async () => {
  const [ada, bob, eve] = ['ada', 'bob', 'eve'].map((userId) => newClient({ auth: { token: server.token(userId) } }));
  if (!ada || !bob || !eve) throw new Error('expected three clients');
  await Promise.all([ada.connect('ada'), bob.connect('bob'), eve.connect('eve')]);
  const received: string[] = [];
  bob.on('chat-activity', ({ chatId, userId }) => received.push(`bob ${chatId} ${userId}`));
  eve.on('chat-activity', ({ chatId }) => received.push(`eve ${chatId}`));
  onTestFinished(bob.chats.subscribe(() => undefined));
  const { id: club } = await ada.chats.createChat();
  const added = await fetch(`${server.apiUrl}/api/chats/${club}/members/bob`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${server.token('ada')}` },
  });
  expect(added.status).toBe(204);
  await eventually(() => expect(bob.chats.getSnapshot().chats.map(({ id }) => id)).toContain(club));
  expect(await ada.sendMessage(club, 'welcome')).toMatchObject({ status: 'sent' });
  await eventually(() => expect(bob.chats.getSnapshot().chats[0]).toMatchObject({ id: club, lastSeq: 3 }));
  const { id: eves } = await eve.chats.createChat();
  await eventually(() => expect(received).toContain(`eve ${eves}`));
  expect(new Set(received)).toEqual(new Set([`bob ${club} ada`, `eve ${eves}`]));
});

test('a getToken that hangs, throws or rejects delays the connection and a message, until it returns a token', async () => {
  const { id } = await newClient({ auth: { token: server.token('ada') } }).chats.createChat();
  const { clock } = platformRuntime;
  const outcomes = [
    (): Promise<string> => new Promise(() => undefined),
    (): string => {
      throw new Error('thrown');
    },
    (): Promise<string> => Promise.reject(new Error('rejected')),
  ];
  let calls = 0;
  const client = newClient({
    getToken: () => outcomes[calls++ >> 1]?.() ?? server.token('ada'), // For the connection, and for the message.
    // The time limits and the backoff, five times as fast.
    runtime: { clock: { ...clock, setTimeout: (callback, delayMs) => clock.setTimeout(callback, delayMs / 5) } },
  });
  const sent = client.sendMessage(id, 'hello');
  await expect(client.connect('ada')).rejects.toMatchObject({ name: 'TokenError', retryable: true });
  await eventually(() => expect(client.isConnected).toBe(true));
  expect(await sent).toMatchObject({ status: 'sent', userId: 'ada' });
});

test('a connection outlives its tokens, and misses no message', async () => {
  let minted = 0;
  let token = '';
  let mintedAt = Number.NEGATIVE_INFINITY;
  const client = newClient({
    getToken: () => {
      if (performance.now() - mintedAt > RENEW_AFTER_MS) {
        token = server.token('ada', SHORT_TTL_S);
        mintedAt = performance.now();
        minted += 1;
      }
      return token;
    },
  });
  const chat = client.chat((await client.chats.createChat()).id);
  onTestFinished(chat.subscribe(() => undefined));
  const closed = vi.fn();
  client.on('disconnect', closed);
  await client.connect('ada');
  const end = performance.now() + SHORT_TTL_S * 1_000 + LEEWAY_MS + 1_000;
  for (let index = 0; performance.now() < end; index += 1) await chat.send(`m${index}`);
  await chat.send('after');
  await eventually(() => expect(chat.getSnapshot().synced).toBe(true));
  const contents = chat.getSnapshot().messages.map(({ content }) => content);
  expect(contents.at(-1)).toBe('after');
  expect(new Set(contents).size).toBe(contents.length);
  expect(minted).toBeGreaterThan(1);
  expect(closed).not.toHaveBeenCalled();
}, 60_000);
