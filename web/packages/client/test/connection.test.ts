import { describe, expect, onTestFinished, test, vi } from 'vitest';
import {
  ConnectionAbortedError,
  ConnectionState,
  createClient,
  NetworkError,
  NotConnectedError,
  RefusedError,
  type WebSocketClient,
} from '../src/index.ts';
import { flush } from './support/fake-clock.ts';
import { FakeServer, json, problem } from './support/fake-server.ts';

function setUp(): { server: FakeServer; client: WebSocketClient; states: ConnectionState[] } {
  const server = new FakeServer();
  const client = createClient({ runtime: server.runtime });
  const states: ConnectionState[] = [];
  client.on('state', (state) => states.push(state));
  onTestFinished(() => client.close());
  return { server, client, states };
}

describe('connect', () => {
  test('resolves when connected, having said who it is', async () => {
    const { server, client, states } = setUp();
    const onConnect = vi.fn();
    client.on('connect', onConnect);
    const connected = client.connect('ada');
    expect(client.connectionState).toBe(ConnectionState.CONNECTING);
    await server.clock.advance(50);
    await connected;
    expect(states).toEqual(['connecting', 'connected']);
    expect(server.socket.sent).toEqual([['join-user', 'ada']]);
    expect(onConnect).toHaveBeenCalledOnce();
    expect(client).toMatchObject({ isConnected: true, currentUserId: 'ada' });
  });

  test('finds the gateway by asking the API of the page', async () => {
    const { server, client } = setUp();
    void client.connect('ada');
    await server.clock.advance(50);
    expect(server.requests.map(({ path }) => path)).toEqual(['/api/config']);
    expect(server.socket.url).toBe('http://page.test:3001');
  });

  test('is shared by concurrent calls for one user: one socket', async () => {
    const { server, client } = setUp();
    const first = client.connect('ada');
    const second = client.connect('ada');
    await server.clock.advance(50);
    await Promise.all([first, second, client.connect('ada')]);
    expect(server.sockets).toHaveLength(1);
  });

  test('for another user replaces the first one at once, before a socket was opened', async () => {
    const { server, client } = setUp();
    const first = client.connect('ada');
    const second = client.connect('bob');
    await expect(first).rejects.toBeInstanceOf(ConnectionAbortedError);
    await server.clock.advance(50);
    await second;
    expect(server.sockets).toHaveLength(1);
    expect(server.socket.sent).toEqual([['join-user', 'bob']]);
  });

  test('is rejected once by the first failure, and goes on trying', async () => {
    const { server, client, states } = setUp();
    server.admission = 'unreachable';
    const onError = vi.fn();
    client.on('error', onError);
    const connected = client.connect('ada');
    const rejected = expect(connected).rejects.toBeInstanceOf(NetworkError);
    await server.clock.advance(20);
    await rejected;
    expect(client.connectionState).toBe(ConnectionState.RECONNECTING);
    expect(client.getConnection().error).toBeInstanceOf(NetworkError);
    server.admission = null;
    await server.clock.advance(1_000);
    expect(client.isConnected).toBe(true);
    expect(client.getConnection().error).toBeNull();
    expect(states).toEqual(['connecting', 'reconnecting', 'connected']);
    expect(onError).toHaveBeenCalledOnce();
  });

  test('does not go on when access is refused', async () => {
    const { server, client } = setUp();
    server.admission = { message: 'no token', data: { code: 'unauthorized' } };
    const rejected = expect(client.connect('ada')).rejects.toMatchObject({
      name: 'RefusedError',
      code: 'unauthorized',
    });
    await server.clock.advance(60_000);
    await rejected;
    expect(client.connectionState).toBe(ConnectionState.DISCONNECTED);
    expect(client.getConnection().error).toBeInstanceOf(RefusedError);
    expect(server.sockets).toHaveLength(1);
  });

  test('goes on when the gateway is only unable to tell', async () => {
    const { server, client } = setUp();
    server.admission = { message: 'the API is away', data: { code: 'unavailable' } };
    client.connect('ada').catch(() => undefined);
    await server.clock.advance(100);
    server.admission = null;
    await server.clock.advance(10_000);
    expect(client.isConnected).toBe(true);
  });

  test('goes on when the API cannot say where the gateway is', async () => {
    const { server, client } = setUp();
    server.intercept = () => problem(503, 'unavailable');
    client.connect('ada').catch(() => undefined);
    await server.clock.advance(100);
    expect(server.sockets).toHaveLength(0);
    server.intercept = () => undefined;
    await server.clock.advance(10_000);
    expect(client.isConnected).toBe(true);
  });

  test('gives up on a handshake that never ends', async () => {
    const { server, client } = setUp();
    server.runtime.createSocket?.('', { auth: {} });
    const silent = createClient({
      runtime: {
        ...server.runtime,
        createSocket: () => ({
          connected: false,
          active: true,
          on: () => undefined,
          onAny: () => undefined,
          emit: () => undefined,
          connect: () => undefined,
          disconnect: () => undefined,
          removeAllListeners: () => undefined,
          offAny: () => undefined,
        }),
      },
    });
    const rejected = expect(silent.connect('ada')).rejects.toThrow('did not answer in time');
    await server.clock.advance(16_000);
    await rejected;
    silent.close();
    client.close();
  });
});

describe('a lost connection', () => {
  test('is RECONNECTING until it is back', async () => {
    const { server, client, states } = setUp();
    void client.connect('ada');
    await server.clock.advance(10_000);
    const onDisconnect = vi.fn();
    client.on('disconnect', onDisconnect);
    server.cut('ping timeout');
    expect(client.connectionState).toBe(ConnectionState.RECONNECTING);
    expect(onDisconnect).toHaveBeenCalledWith('ping timeout');
    await server.clock.advance(1_000);
    expect(states).toEqual(['connecting', 'connected', 'reconnecting', 'connected']);
  });

  test('is reopened after the server itself disconnected', async () => {
    const { server, client } = setUp();
    void client.connect('ada');
    await server.clock.advance(10_000);
    server.cut('io server disconnect');
    await server.clock.advance(1_000);
    expect(client.isConnected).toBe(true);
  });

  test('is said to be lost after a moment only, and then said to be back', async () => {
    const { server, client } = setUp();
    const said: string[] = [];
    client.on('connection-lost', (reason) => said.push(`lost: ${reason}`));
    client.on('connection-restored', () => said.push('restored'));
    void client.connect('ada');
    await server.clock.advance(10_000);
    server.cut();
    await server.clock.advance(1_500);
    expect(said).toEqual([]);
    server.admission = 'unreachable';
    server.cut('transport error');
    await server.clock.advance(3_000);
    expect(said).toEqual(['lost: transport error']);
    expect(client.getConnection().lost).toBe(true);
    server.admission = null;
    await server.clock.advance(6_000);
    expect(said).toEqual(['lost: transport error', 'restored']);
    expect(client.getConnection().lost).toBe(false);
  });

  test('is tried at growing distances of at most 5 s', async () => {
    const { server, client } = setUp();
    void client.connect('ada');
    await server.clock.advance(10_000);
    server.admission = 'unreachable';
    server.cut();
    const opened: number[] = [];
    for (let ms = 0; ms < 60_000; ms += 10) {
      const before = server.sockets.length;
      await server.clock.advance(10);
      if (server.sockets.length > before) opened.push(ms);
    }
    const gaps = opened.slice(1).map((at, index) => at - (opened[index] ?? 0));
    expect(gaps[0]).toBeLessThan(1_000);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(5_000);
    expect(gaps.at(-1)).toBeGreaterThan(2_400);
  });

  test('is tried at once when the network is back', async () => {
    const { server, client } = setUp();
    client.chat('c').subscribe(() => undefined);
    void client.connect('ada');
    await server.clock.advance(10_000);
    server.admission = 'unreachable';
    server.cut();
    await server.clock.advance(20_000);
    server.admission = null;
    server.wake();
    await server.clock.advance(320);
    expect(client.isConnected).toBe(true);
  });

  test('does not hammer a server that hangs up at once', async () => {
    const { server, client } = setUp();
    void client.connect('ada');
    for (let turn = 0; turn < 600; turn += 1) {
      await server.clock.advance(100);
      server.cut('io server disconnect');
    }
    expect(server.sockets.length).toBeLessThan(25);
  });
});

describe('requests', () => {
  test('ping answers pong; without a connection it is rejected', async () => {
    const { server, client } = setUp();
    await expect(client.ping()).rejects.toBeInstanceOf(NotConnectedError);
    void client.connect('ada');
    await server.clock.advance(50);
    expect(await client.ping()).toBe('pong');
  });

  test('a request under way is rejected when the connection breaks', async () => {
    const { server, client } = setUp();
    void client.connect('ada');
    await server.clock.advance(50);
    const pong = client.ping();
    server.cut();
    await expect(pong).rejects.toBeInstanceOf(NotConnectedError);
  });
});

describe('several users of one connection', () => {
  test('the first to let go does not disconnect the other', async () => {
    const { server, client } = setUp();
    const [first, second] = [client.acquire('ada'), client.acquire('ada')];
    await server.clock.advance(50);
    first();
    first();
    await server.clock.advance(50);
    expect(client.isConnected).toBe(true);
    second();
    expect(client.isConnected).toBe(true); // A macrotask later.
    await server.clock.advance(1);
    expect(client.connectionState).toBe(ConnectionState.DISCONNECTED);
    expect(client.currentUserId).toBeNull();
  });

  test('letting go and taking hold again in one turn keeps the socket', async () => {
    const { server, client } = setUp();
    client.acquire('ada')();
    const release = client.acquire('ada');
    await server.clock.advance(50);
    release();
    client.acquire('ada');
    await server.clock.advance(50);
    expect(server.sockets).toHaveLength(1);
    expect(client.isConnected).toBe(true);
  });

  test('the newest one says who is connected; when it lets go, the one before', async () => {
    const { server, client } = setUp();
    client.acquire('ada');
    const release = client.acquire('bob');
    await server.clock.advance(50);
    expect(client.currentUserId).toBe('bob');
    release();
    await server.clock.advance(1_000);
    expect(client).toMatchObject({ currentUserId: 'ada', isConnected: true });
  });

  test('connect holds it too, until disconnect, which ends it for all', async () => {
    const { server, client } = setUp();
    void client.connect('ada');
    client.acquire('ada')();
    await server.clock.advance(50);
    expect(client.isConnected).toBe(true);
    const release = client.acquire('ada');
    client.disconnect();
    expect(client.connectionState).toBe(ConnectionState.DISCONNECTED);
    release();
    await server.clock.advance(60_000);
    expect(server.clock.pending).toBe(0);
  });
});

describe('reconnect and disconnect', () => {
  test('reconnect opens a new socket; without a user it is rejected', async () => {
    const { server, client } = setUp();
    await expect(client.reconnect()).rejects.toThrow('No userId available for reconnection');
    void client.connect('ada');
    await server.clock.advance(500);
    const again = client.reconnect();
    await server.clock.advance(50);
    await again;
    expect(server.sockets.map(({ connected }) => connected)).toEqual([false, true]);
  });

  test('an impatient button opens few sockets', async () => {
    const { server, client } = setUp();
    void client.connect('ada');
    for (let click = 0; click < 20; click += 1) {
      client.reconnect().catch(() => undefined);
      await server.clock.advance(50);
    }
    await server.clock.advance(1_000);
    expect(server.sockets.length).toBeLessThanOrEqual(6);
    expect(client.isConnected).toBe(true);
  });

  test('disconnect while connecting rejects the promise', async () => {
    const { server, client } = setUp();
    const connected = client.connect('ada');
    await server.clock.advance(5);
    client.disconnect();
    await expect(connected).rejects.toBeInstanceOf(ConnectionAbortedError);
    await server.clock.advance(60_000);
    expect(client.connectionState).toBe(ConnectionState.DISCONNECTED);
    expect(server.sockets.every((socket) => !socket.connected)).toBe(true);
  });
});

test('an answer of the API that comes after disconnect opens nothing', async () => {
  const { server, client } = setUp();
  let answer: (response: Response) => void = () => undefined;
  server.intercept = () => new Promise((resolve) => (answer = resolve));
  client.connect('ada').catch(() => undefined);
  await server.clock.advance(50);
  client.disconnect();
  answer(json({ auth: false, gateway: { url: null, port: 3001 }, epoch: 'e1', version: '0' }));
  await server.clock.advance(1_000);
  expect(server.sockets).toHaveLength(0);
  expect(client.connectionState).toBe(ConnectionState.DISCONNECTED);
});

test('a handler that throws harms neither the others nor the client', async () => {
  const { server, client } = setUp();
  const uncaught: unknown[] = [];
  const collect = (error: unknown): void => void uncaught.push(error);
  process.once('uncaughtException', collect);
  onTestFinished(() => void process.off('uncaughtException', collect));
  const second = vi.fn();
  client.on('connect', () => {
    throw new Error('mine');
  });
  client.on('connect', second);
  void client.connect('ada');
  await server.clock.advance(50);
  await flush();
  expect(second).toHaveBeenCalledOnce();
  expect(client.isConnected).toBe(true);
});

test('the token is asked for at each connection and never part of a URL', async () => {
  const server = new FakeServer();
  let version = 0;
  const client = createClient({ runtime: server.runtime, getToken: () => Promise.resolve(`token-${(version += 1)}`) });
  void client.connect('ada');
  await server.clock.advance(10_000);
  server.cut();
  await server.clock.advance(1_000);
  expect(server.sockets.map(({ auth }) => auth['token'])).toHaveLength(2);
  expect(new Set(server.sockets.map(({ auth }) => auth['token'])).size).toBe(2);
  expect(server.requests[0]?.headers.get('authorization')).toMatch(/^Bearer token-/);
  expect(server.sockets.every(({ url }) => !url.includes('token'))).toBe(true);
  client.close();
});
