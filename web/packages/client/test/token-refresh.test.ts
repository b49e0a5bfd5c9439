/** The access token of an open connection is replaced before it expires. */
import { expect, onTestFinished, test, vi } from 'vitest';
import { createClient, type WebSocketClient } from '../src/index.ts';
import { FakeServer } from './support/fake-server.ts';

async function connect(
  lifetimeS: number | null,
  getToken: () => string | null | Promise<string> = () => 'token',
): Promise<{ server: FakeServer; client: WebSocketClient; refreshes: () => unknown[]; errors: string[] }> {
  const server = new FakeServer();
  server.tokenLifetimeS = lifetimeS;
  const client = createClient({ runtime: server.runtime, getToken });
  onTestFinished(() => client.close());
  const errors: string[] = [];
  client.on('error', ({ message }) => errors.push(message));
  void client.connect('ada');
  await server.clock.advance(50);
  const refreshes = (): unknown[] =>
    server.socket.sent.filter(([name]) => name === 'auth-refresh').map(([, payload]) => payload);
  return { server, client, refreshes, errors };
}

test('getToken is called again after three quarters of the lifetime, and its token is sent', async () => {
  let count = 0;
  const { server, refreshes } = await connect(100, () => `token-${(count += 1)}`);
  const before = count;
  await server.clock.advance(74_000);
  expect(refreshes()).toEqual([]);
  await server.clock.advance(1_000);
  expect(refreshes()).toEqual([{ token: `token-${before + 1}` }]);
  await server.clock.advance(75_000);
  expect(refreshes()).toEqual([{ token: `token-${before + 1}` }, { token: `token-${before + 2}` }]);
  expect(server.sockets).toHaveLength(1);
});

test('without authentication, and for a server that names no lifetime, nothing is sent', async () => {
  const { server, refreshes } = await connect(null);
  await server.clock.advance(86_400_000);
  expect(refreshes()).toEqual([]);
});

test('a failure is reported and repeated until it works', async () => {
  const getToken = vi.fn(() => 'token');
  const { server, refreshes, errors } = await connect(100, getToken);
  getToken.mockImplementation(() => {
    throw new Error('the host is away');
  });
  await server.clock.advance(76_000);
  expect(errors).toEqual(['the access token cannot be renewed: getToken: the host is away']);
  getToken.mockImplementation(() => 'renewed');
  await server.clock.advance(19_000);
  expect(refreshes()).toEqual([{ token: 'renewed' }]);
});

test('a refusal leaves the connection as it is', async () => {
  const { server, client, errors } = await connect(100);
  server.refreshAuth = () => ({ ok: false, error: { code: 'forbidden', message: 'another user' } });
  await server.clock.advance(76_000);
  expect(errors).toEqual(['the access token cannot be renewed: another user']);
  expect(client.isConnected).toBe(true);
});

test('attempts have at least five seconds between them, also when the token has almost expired', async () => {
  const { server, refreshes } = await connect(0.1);
  await server.clock.advance(10_500);
  expect(refreshes()).toHaveLength(2);
});

test('a token that arrives after the connection has closed is not sent', async () => {
  let resolve: (token: string) => void = () => undefined;
  let slow = false;
  const { server, client, refreshes } = await connect(100, () =>
    slow ? new Promise<string>((settle) => (resolve = settle)) : 'token',
  );
  slow = true;
  await server.clock.advance(75_000);
  client.disconnect();
  resolve('late');
  await server.clock.advance(1_000_000);
  expect(refreshes()).toEqual([]);
  expect(server.clock.pending).toBe(0);
});

test('after a reconnect the lifetime counts from the new connection', async () => {
  const { server, refreshes } = await connect(100);
  await server.clock.advance(70_000);
  server.socket.drop('transport close');
  await server.clock.advance(10_000);
  expect(server.sockets).toHaveLength(2);
  expect(refreshes()).toEqual([]);
  await server.clock.advance(75_000);
  expect(refreshes()).toHaveLength(1);
});
