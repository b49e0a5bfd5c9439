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
  test('resolves when connected, after sending join-user', async () => {
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

  test('finds the gateway through the API of the page’s origin', async () => {
    const { server, client } = setUp();
    void client.connect('ada');
    await server.clock.advance(50);
    expect(server.requests.map(({ path }) => path)).toEqual(['/api/config']);
    expect(server.socket.url).toBe('http://page.test:3001');
  });

  test('opens one socket for concurrent calls of one user', async () => {
    const { server, client } = setUp();
    const first = client.connect('ada');
    const second = client.connect('ada');
    await server.clock.advance(50);
    await Promise.all([first, second, client.connect('ada')]);
    expect(server.sockets).toHaveLength(1);
  });

  test('as another user replaces a pending attempt before it opens a socket', async () => {
    const { server, client } = setUp();
    const first = client.connect('ada');
    const second = client.connect('bob');
    await expect(first).rejects.toBeInstanceOf(ConnectionAbortedError);
    await server.clock.advance(50);
    await second;
    expect(server.sockets).toHaveLength(1);
    expect(server.socket.sent).toEqual([['join-user', 'bob']]);
  });

  test('rejects with the first failure, and retries', async () => {
    const { server, client, states } = setUp();
    server.connectionFault = 'unreachable';
    const onError = vi.fn();
    client.on('error', onError);
    const connected = client.connect('ada');
    const rejected = expect(connected).rejects.toBeInstanceOf(NetworkError);
    await server.clock.advance(20);
    await rejected;
    expect(client.connectionState).toBe(ConnectionState.RECONNECTING);
    expect(client.getConnection().error).toBeInstanceOf(NetworkError);
    server.connectionFault = null;
    await server.clock.advance(1_000);
    expect(client.isConnected).toBe(true);
    expect(client.getConnection().error).toBeNull();
    expect(states).toEqual(['connecting', 'reconnecting', 'connected']);
    expect(onError).toHaveBeenCalledOnce();
  });

  test('does not retry after a permanent rejection', async () => {
    const { server, client } = setUp();
    server.connectionFault = { message: 'no token', data: { code: 'unauthorized' } };
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

  test('retries after a temporary rejection', async () => {
    const { server, client } = setUp();
    server.connectionFault = { message: 'the API is away', data: { code: 'unavailable' } };
    client.connect('ada').catch(() => undefined);
    await server.clock.advance(100);
    server.connectionFault = null;
    await server.clock.advance(10_000);
    expect(client.isConnected).toBe(true);
  });

  test('retries if the API does not serve the gateway address', async () => {
    const { server, client } = setUp();
    server.intercept = () => problem(503, 'unavailable');
    client.connect('ada').catch(() => undefined);
    await server.clock.advance(100);
    expect(server.sockets).toHaveLength(0);
    server.intercept = () => undefined;
    await server.clock.advance(10_000);
    expect(client.isConnected).toBe(true);
  });

  test('rejects a handshake that does not complete', async () => {
    const { server, client } = setUp();
    const silent = createClient({
      runtime: {
        ...server.runtime,
        createSocket: () => ({
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
    const rejected = expect(silent.connect('ada')).rejects.toThrow('did not complete the handshake in time');
    await server.clock.advance(16_000);
    await rejected;
    silent.close();
    client.close();
  });
});

describe('a lost connection', () => {
  test('is RECONNECTING until it is reopened', async () => {
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

  test('is reopened after a disconnect by the server', async () => {
    const { server, client } = setUp();
    void client.connect('ada');
    await server.clock.advance(10_000);
    server.cut('io server disconnect');
    await server.clock.advance(1_000);
    expect(client.isConnected).toBe(true);
  });

  test('is reported as lost after 2 s, and then as restored', async () => {
    const { server, client } = setUp();
    const reported: string[] = [];
    client.on('connection-lost', (reason) => reported.push(`lost: ${reason}`));
    client.on('connection-restored', () => reported.push('restored'));
    void client.connect('ada');
    await server.clock.advance(10_000);
    server.cut();
    await server.clock.advance(1_500);
    expect(reported).toEqual([]);
    server.connectionFault = 'unreachable';
    server.cut('transport error');
    await server.clock.advance(3_000);
    expect(reported).toEqual(['lost: transport error']);
    expect(client.getConnection().lost).toBe(true);
    server.connectionFault = null;
    await server.clock.advance(6_000);
    expect(reported).toEqual(['lost: transport error', 'restored']);
    expect(client.getConnection().lost).toBe(false);
  });

  test('is retried at increasing intervals of at most 5 s', async () => {
    const { server, client } = setUp();
    void client.connect('ada');
    await server.clock.advance(10_000);
    server.connectionFault = 'unreachable';
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

  test('is retried at once when the network is back', async () => {
    const { server, client } = setUp();
    client.chat('c').subscribe(() => undefined);
    void client.connect('ada');
    await server.clock.advance(10_000);
    server.connectionFault = 'unreachable';
    server.cut();
    await server.clock.advance(20_000);
    server.connectionFault = null;
    server.wake();
    await server.clock.advance(320);
    expect(client.isConnected).toBe(true);
  });

  test('is noticed seconds after a wake, though the socket reports nothing', async () => {
    const { server, client, states } = setUp();
    void client.connect('ada');
    await server.clock.advance(10_000);
    server.socket.connected = false; // Half open: emits reach no server, and no event reports it.
    server.wake();
    server.wake();
    await server.clock.advance(3_900);
    expect(client.connectionState).toBe(ConnectionState.CONNECTED);
    await server.clock.advance(600);
    expect(states).toEqual(['connecting', 'connected', 'reconnecting', 'connected']);
    expect(server.sockets).toHaveLength(2);
  });

  test('is not assumed after a wake whose ping is acknowledged', async () => {
    const { server, client, states } = setUp();
    void client.connect('ada');
    await server.clock.advance(10_000);
    server.wake();
    server.wake();
    await server.clock.advance(20_000);
    expect(server.socket.sent).toEqual([
      ['join-user', 'ada'],
      ['ping', undefined],
    ]);
    expect(states).toEqual(['connecting', 'connected']);
  });

  test('is reopened at the known gateway, and after a failed attempt at the one that the API names', async () => {
    const { server, client } = setUp();
    void client.connect('ada');
    await server.clock.advance(10_000);
    server.cut();
    server.connectionFault = 'unreachable';
    await server.clock.advance(600);
    expect(server.sockets).toHaveLength(2);
    expect(server.requests).toHaveLength(1);
    await server.clock.advance(1_000);
    expect(server.sockets).toHaveLength(3);
    expect(server.requests).toHaveLength(2);
  });

  test('backs off from a server that disconnects immediately', async () => {
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
  test('ping resolves to pong; without a connection it rejects', async () => {
    const { server, client } = setUp();
    await expect(client.ping()).rejects.toBeInstanceOf(NotConnectedError);
    void client.connect('ada');
    await server.clock.advance(50);
    expect(await client.ping()).toBe('pong');
  });

  test('a pending request rejects when the connection closes', async () => {
    const { server, client } = setUp();
    void client.connect('ada');
    await server.clock.advance(50);
    const pong = client.ping();
    server.cut();
    await expect(pong).rejects.toBeInstanceOf(NotConnectedError);
  });
});

describe('several holders of one connection', () => {
  test('the first release does not disconnect the other holder', async () => {
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

  test('a release and an acquire in one turn keep the socket', async () => {
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

  test('the newest holder determines the user; after its release, the one before', async () => {
    const { server, client } = setUp();
    client.acquire('ada');
    const release = client.acquire('bob');
    await server.clock.advance(50);
    expect(client.currentUserId).toBe('bob');
    release();
    await server.clock.advance(1_000);
    expect(client).toMatchObject({ currentUserId: 'ada', isConnected: true });
  });

  test('connect holds it until disconnect, which ends all holds', async () => {
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
  test('reconnect opens a new socket; without a user it rejects', async () => {
    const { server, client } = setUp();
    await expect(client.reconnect()).rejects.toThrow('No userId available for reconnection');
    void client.connect('ada');
    await server.clock.advance(500);
    const again = client.reconnect();
    await server.clock.advance(50);
    await again;
    expect(server.sockets.map(({ connected }) => connected)).toEqual([false, true]);
  });

  test('repeated reconnect calls open few sockets', async () => {
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

test('an API response after disconnect opens no socket', async () => {
  const { server, client } = setUp();
  let respond: (response: Response) => void = () => undefined;
  server.intercept = () => new Promise((resolve) => (respond = resolve));
  client.connect('ada').catch(() => undefined);
  await server.clock.advance(50);
  client.disconnect();
  respond(json({ auth: false, gateway: { url: null, port: 3001 }, epoch: 'e1', version: '0' }));
  await server.clock.advance(1_000);
  expect(server.sockets).toHaveLength(0);
  expect(client.connectionState).toBe(ConnectionState.DISCONNECTED);
});

test('a handler that throws affects neither other handlers nor the client', async () => {
  const { server, client } = setUp();
  const uncaught: unknown[] = [];
  const collect = (error: unknown): void => void uncaught.push(error);
  process.once('uncaughtException', collect);
  onTestFinished(() => void process.off('uncaughtException', collect));
  const second = vi.fn();
  client.on('connect', () => {
    throw new Error('from the handler');
  });
  client.on('connect', second);
  void client.connect('ada');
  await server.clock.advance(50);
  await flush();
  expect(second).toHaveBeenCalledOnce();
  expect(client.isConnected).toBe(true);
});

test('the token is requested for each connection and is never part of a URL', async () => {
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
