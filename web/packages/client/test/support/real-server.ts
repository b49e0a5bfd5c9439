/** A real `roomcast up` as a child process, and a TCP proxy that simulates network failures. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { onTestFinished, vi } from 'vitest';

const ROOMCAST = resolve(import.meta.dirname, '../../../../../.venv/bin/roomcast');
const START_LIMIT_MS = 30_000;
/** The origin of pages in jsdom. */
const ORIGIN = 'http://localhost:3000';

export class RealServer {
  readonly apiPort: number;
  readonly gatewayPort: number;
  readonly #data: string;
  #process: ChildProcess | null = null;

  readonly #env: NodeJS.ProcessEnv;

  private constructor(apiPort: number, gatewayPort: number, data: string, env: NodeJS.ProcessEnv) {
    this.apiPort = apiPort;
    this.gatewayPort = gatewayPort;
    this.#data = data;
    this.#env = { ...process.env, ROOMCAST_RESPONDER: 'none', ALLOWED_ORIGINS: ORIGIN, ...env };
  }

  static async start(env: NodeJS.ProcessEnv = {}): Promise<RealServer> {
    const data = mkdtempSync(join(tmpdir(), 'roomcast-sdk-'));
    const server = new RealServer(await freePort(), await freePort(), data, env);
    await server.up();
    return server;
  }

  get apiUrl(): string {
    return `http://127.0.0.1:${this.apiPort}`;
  }

  get gatewayUrl(): string {
    return `http://127.0.0.1:${this.gatewayPort}`;
  }

  async up(): Promise<void> {
    if (!existsSync(ROOMCAST)) throw new Error(`${ROOMCAST} is missing: run the tests with \`make test\``);
    const ports = ['--api-port', String(this.apiPort), '--gateway-port', String(this.gatewayPort)];
    const child = spawn(ROOMCAST, ['up', ...ports, '--data', this.#data], {
      env: this.#env,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#process = child;
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(-4_000)));
    const limit = Date.now() + START_LIMIT_MS;
    while (!((await responds(`${this.apiUrl}/health`)) && (await responds(`${this.gatewayUrl}/health`)))) {
      if (child.exitCode !== null || Date.now() > limit) {
        await this.stop();
        throw new Error(`roomcast up did not start: ${stderr}`);
      }
      await new Promise((next) => setTimeout(next, 50));
    }
  }

  /** The output of `roomcast token`. */
  token(userId: string, ttlS = 3_600): string {
    const options = { env: this.#env, encoding: 'utf8' } as const;
    return execFileSync(ROOMCAST, ['token', '--ttl', String(ttlS), userId], options).trim();
  }

  async down(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#process;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }

  /** Deletes the database; only while the server is stopped. */
  deleteData(): void {
    rmSync(this.#data, { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    await this.down();
    this.deleteData();
  }

  /** Stores a message, by default as another user. */
  async post(chatId: string, content: string, userId = 'other'): Promise<void> {
    const response = await fetch(`${this.apiUrl}/api/chat/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ chatId, role: 'USER', content, userId }),
    });
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  }
}

/** A TCP proxy whose connections a test can cut; closed at the end of the test. */
export class TcpProxy {
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((client) => {
    if (this.#isCut) {
      client.destroy();
      return;
    }
    const upstream = connect(this.#target, '127.0.0.1');
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(from);
      from.on('data', (data) => to.write(data));
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  });
  readonly #target: number;
  #isCut = false;

  private constructor(target: number) {
    this.#target = target;
  }

  static async to(port: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(port);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    onTestFinished(() => {
      proxy.cut();
      proxy.#server.close();
    });
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  restore(): void {
    this.#isCut = false;
  }
}

/** Waits until a check passes, at most 15 s. */
export async function eventually(check: () => void): Promise<void> {
  await vi.waitFor(check, { timeout: 15_000, interval: 20 });
}

/**
 * A free port below the ephemeral range: an ephemeral port could be taken while the server is stopped, even by a client
 * that connects to itself. Each test worker has its own range of 1,000 ports.
 */
async function freePort(): Promise<number> {
  const first = 20_000 + (Number(process.env['VITEST_POOL_ID'] ?? 0) % 10) * 1_000;
  for (;;) {
    const port = first + Math.floor(Math.random() * 1_000);
    if ((await isFree(port, '127.0.0.1')) && (await isFree(port, '::1'))) return port;
  }
}

async function isFree(port: number, host: string): Promise<boolean> {
  const probe = createServer().listen(port, host);
  try {
    await once(probe, 'listening');
  } catch (error) {
    // Without IPv6 the port cannot be in use there.
    return (error as NodeJS.ErrnoException).code !== 'EADDRINUSE';
  }
  probe.close();
  await once(probe, 'close');
  return true;
}

async function responds(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}
