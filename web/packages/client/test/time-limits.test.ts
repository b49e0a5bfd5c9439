/** Functions of the application that do not settle, or fail: `getToken`, and a replaced `fetch`. */
import { describe, expect, onTestFinished, test } from 'vitest';
import { ConnectionState, createClient, NetworkError, type TokenSource, type WebSocketClient } from '../src/index.ts';
import { FakeServer, json } from './support/fake-server.ts';

const NEVER = new Promise<never>(() => undefined);

/** A client whose `getToken` can be replaced. */
function setUp(getToken: TokenSource): { server: FakeServer; client: WebSocketClient; use: (to: TokenSource) => void } {
  const server = new FakeServer();
  let current = getToken;
  const client = createClient({ runtime: server.runtime, getToken: () => current() });
  onTestFinished(() => client.close());
  return { server, client, use: (to) => (current = to) };
}

describe.each<[string, TokenSource, string]>([
  ['never settles', () => NEVER, 'getToken: no result within 10 s'],
  ['rejects', () => Promise.reject(new TypeError('failed to fetch')), 'getToken: failed to fetch'],
  [
    'throws',
    () => {
      throw new Error('signed out');
    },
    'getToken: signed out',
  ],
])('a getToken that %s', (_name, broken, message) => {
  test('fails the attempt to connect with an error that names it; the next attempt calls it again', async () => {
    const { server, client, use } = setUp(broken);
    const rejected = expect(client.connect('ada')).rejects.toMatchObject({ name: 'TokenError', message });
    await server.clock.advance(10_100);
    await rejected;
    expect(client.connectionState).toBe(ConnectionState.RECONNECTING);
    use(() => 'valid');
    await server.clock.advance(30_000);
    expect(client.isConnected).toBe(true);
    expect(server.socket.auth).toEqual({ token: 'valid' });
  });

  test('delays a message and does not fail it', async () => {
    const { server, client, use } = setUp(broken);
    const sent = client.sendMessage('c', 'hello');
    await server.clock.advance(300_000);
    expect(server.contents('c')).toEqual([]);
    use(() => 'valid');
    await server.clock.advance(30_000);
    expect(await sent).toMatchObject({ status: 'sent' });
    expect(server.contents('c')).toEqual(['hello']);
  });
});

test.each(['resolves', 'rejects'])('a getToken that %s too late has no effect', async (outcome) => {
  let finish = (): void => undefined;
  const slow = new Promise<string>((resolve, reject) => {
    finish = () => (outcome === 'resolves' ? resolve('late') : reject(new Error('late')));
  });
  const { server, client, use } = setUp(() => slow);
  client.connect('ada').catch(() => undefined);
  await server.clock.advance(10_100);
  use(() => 'valid');
  await server.clock.advance(30_000);
  finish();
  await server.clock.advance(30_000);
  expect(server.sockets.map(({ auth }) => auth)).toEqual([{ token: 'valid' }]);
  expect(client.isConnected).toBe(true);
});

test.each<[string, () => Promise<Response>]>([
  ['never settles', () => NEVER],
  [
    'returns a body that never ends',
    () => Promise.resolve(Object.assign(json({}), { json: (): Promise<unknown> => NEVER })),
  ],
])('a fetch that %s and ignores its signal ends with the time limit of the request', async (_name, fetch) => {
  const server = new FakeServer();
  const client = createClient({ runtime: { ...server.runtime, fetch } });
  const outcome = client.api.getChat('c').catch((error: unknown) => error);
  await server.clock.advance(20_100);
  expect(await Promise.race([outcome, Promise.resolve('pending')])).toEqual(
    new NetworkError('GET /api/chats/c: no response within 20 s'),
  );
});

test('a fetch that throws is a NetworkError', async () => {
  const fetch = (): never => {
    throw new Error('blocked');
  };
  const client = createClient({ runtime: { ...new FakeServer().runtime, fetch } });
  await expect(client.api.getChat('c')).rejects.toEqual(new NetworkError('GET /api/chats/c: blocked'));
});
