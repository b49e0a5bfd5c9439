/** A real `roomcast up` as a process of its own, and a network in front of its gateway that can be cut. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { onTestFinished } from 'vitest';

const ROOMCAST = resolve(import.meta.dirname, '../../../../../.venv/bin/roomcast');
const START_LIMIT_MS = 30_000;
/** What jsdom calls its page's origin. */
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
    if (!existsSync(ROOMCAST)) throw new Error(`${ROOMCAST} is missing: run the tests by \`make test\``);
    const ports = ['--api-port', String(this.apiPort), '--gateway-port', String(this.gatewayPort)];
    const child = spawn(ROOMCAST, ['up', ...ports, '--data', this.#data], {
      env: this.#env,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#process = child;
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4_000)));
    const limit = Date.now() + START_LIMIT_MS;
    while (!((await answers(`${this.apiUrl}/health`)) && (await answers(`${this.gatewayUrl}/health`)))) {
      if (child.exitCode !== null || Date.now() > limit) {
        await this.stop();
        throw new Error(`roomcast up did not start: ${said}`);
      }
      await new Promise((next) => setTimeout(next, 50));
    }
  }

  /** What `roomcast token` prints. */
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

  /** Deletes the database while it is down. */
  deleteData(): void {
    rmSync(this.#data, { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    await this.down();
    this.deleteData();
  }

  /** Stores a message as some other person. */
  async post(chatId: string, content: string, userId = 'somebody'): Promise<void> {
    const answer = await fetch(`${this.apiUrl}/api/chat/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ chatId, role: 'USER', content, userId }),
    });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  }
}

/** A TCP proxy that can be cut; ends with the test. */
export class Wire {
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((near) => {
    if (this.#isCut) {
      near.destroy();
      return;
    }
    const far = connect(this.#target, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
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

  static async to(port: number): Promise<Wire> {
    const wire = new Wire(port);
    wire.#server.listen(0, '127.0.0.1');
    await once(wire.#server, 'listening');
    onTestFinished(() => {
      wire.cut();
      wire.#server.close();
    });
    return wire;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#isCut = false;
  }
}

/**
 * Below the range from which the system gives ports to connections: one from there can be taken while its server is down,
 * even by a client that calls that server and so meets itself. Each worker of a run has its own thousand.
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
    // Without IPv6 nobody has it there.
    return (error as NodeJS.ErrnoException).code !== 'EADDRINUSE';
  }
  probe.close();
  await once(probe, 'close');
  return true;
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}
