/**
 * The one connection to the gateway: who wants it, how it is opened, lost and opened again.
 *
 * There is a single loop and it is here: socket.io's own is switched off. It knows nothing of addresses that have to be
 * asked for, gives up when the server disconnects, and its jitter is gone once the delay reaches its cap.
 */
import { backoffMs } from './backoff.ts';
import {
  AckTimeoutError,
  ConnectionAbortedError,
  NetworkError,
  NotConnectedError,
  RefusedError,
  type RoomcastError,
  toRoomcastError,
} from './errors.ts';
import type { AckFailure } from './generated/contract.ts';
import { Emitter, Observable } from './observable.ts';
import type { GatewaySocket, Runtime, TimerHandle } from './runtime.ts';
import { ConnectionState } from './types.ts';

/** A user who is switched back and forth, or an impatient button, opens at most this often. */
const OPEN_SPACING_MS = 300;
/** Longer than the transport's own limit: it bounds the handshake of the namespace behind it. */
const OPEN_TIMEOUT_MS = 15_000;
const ACK_TIMEOUT_MS = 10_000;
/** A drop shorter than this is nothing to tell people about. */
const LOST_AFTER_MS = 2_000;
/** A connection that lived shorter than this counts as a failed attempt: a server that hangs up at once is not hammered. */
const STABLE_AFTER_MS = 5_000;

export interface ConnectionSnapshot {
  readonly state: ConnectionState;
  readonly userId: string | null;
  /** Why the last attempt failed; null once connected. */
  readonly error: RoomcastError | null;
  /** An established connection has been gone for more than a moment. */
  readonly lost: boolean;
}

export interface ConnectionEvents {
  open: () => void;
  close: (reason: string) => void;
  failed: (error: RoomcastError) => void;
  lost: (reason: string) => void;
  restored: () => void;
  /** Anything that the gateway emitted. */
  event: (name: string, payload: unknown) => void;
}

export interface ConnectionOptions {
  /** Finds the gateway and the payload of the handshake; asked before each attempt. */
  prepare: () => Promise<{ url: string; auth: Record<string, unknown> }>;
}

type Phase =
  | { kind: 'idle' }
  | { kind: 'scheduled'; timer: TimerHandle }
  | { kind: 'preparing' }
  | { kind: 'opening'; socket: GatewaySocket; timer: TimerHandle }
  | { kind: 'open'; socket: GatewaySocket; since: number };

interface Hold {
  readonly userId: string;
}

interface Pending {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: RoomcastError) => void;
}

const IDLE: ConnectionSnapshot = { state: ConnectionState.DISCONNECTED, userId: null, error: null, lost: false };

export class Connection {
  readonly snapshot = new Observable<ConnectionSnapshot>(IDLE);
  readonly events = new Emitter<ConnectionEvents>();
  readonly #options: ConnectionOptions;
  readonly #runtime: Runtime;
  #phase: Phase = { kind: 'idle' };
  /** Who needs the connection, the newest last; its user is the one that is connected. */
  #holds: Hold[] = [];
  #explicitHold: Hold | null = null;
  #pending: Pending | null = null;
  #failures = 0;
  #lastOpenAt = Number.NEGATIVE_INFINITY;
  #lostTimer: TimerHandle | null = null;
  #stopWaking: (() => void) | null = null;
  readonly #unanswered = new Set<(error: RoomcastError) => void>();

  constructor(options: ConnectionOptions, runtime: Runtime) {
    this.#options = options;
    this.#runtime = runtime;
  }

  get isOpen(): boolean {
    return this.#phase.kind === 'open';
  }

  /**
   * Connects as a user, until `disconnect`.
   *
   * @returns settles once: with the connection, or with the first failure (after which attempts go on by themselves
   *   unless access was refused). Calls for the same user share it.
   */
  connect(userId: string): Promise<void> {
    this.#dropHold(this.#explicitHold);
    this.#explicitHold = { userId };
    this.#holds.push(this.#explicitHold);
    return this.#aim(userId);
  }

  /** Keeps the connection open for one user of it; the last one to let go closes it, a macrotask later. */
  acquire(userId: string): () => void {
    const hold: Hold = { userId };
    this.#holds.push(hold);
    // The outcome shows in the snapshot; nobody waits for this promise.
    this.#aim(userId).catch(() => undefined);
    return () => {
      if (!this.#dropHold(hold)) return;
      // Deferred: React's StrictMode, and a move between two pages, let go and take hold again at once.
      this.#runtime.clock.setTimeout(() => this.#reconsider(), 0);
    };
  }

  disconnect(): void {
    this.#holds = [];
    this.#explicitHold = null;
    this.#close();
  }

  /** Drops the connection, if there is one, and opens a new one now. */
  reconnect(): Promise<void> {
    const { userId } = this.snapshot.value;
    if (userId === null) return Promise.reject(new ConnectionAbortedError('No userId available for reconnection'));
    this.#tearDown('io client disconnect');
    return this.#start(userId);
  }

  emit(event: string, payload: unknown): void {
    if (this.#phase.kind !== 'open') throw new NotConnectedError();
    this.#phase.socket.emit(event, payload);
  }

  /**
   * Emits an event and waits for its ack.
   *
   * @throws RefusedError, AckTimeoutError or NotConnectedError
   */
  request<Ack>(event: string, ...payload: unknown[]): Promise<Ack> {
    if (this.#phase.kind !== 'open') return Promise.reject(new NotConnectedError());
    const { socket } = this.#phase;
    return new Promise<Ack>((resolve, reject) => {
      const settle = (): void => {
        this.#runtime.clock.clearTimeout(timer);
        this.#unanswered.delete(fail);
      };
      const fail = (error: RoomcastError): void => {
        settle();
        reject(error);
      };
      const timer = this.#runtime.clock.setTimeout(() => fail(new AckTimeoutError(event)), ACK_TIMEOUT_MS);
      this.#unanswered.add(fail);
      socket.emit(event, ...payload, (ack: Ack | AckFailure) => {
        settle();
        if (isFailure(ack)) reject(new RefusedError(ack.error));
        else resolve(ack);
      });
    });
  }

  #dropHold(hold: Hold | null): boolean {
    const before = this.#holds.length;
    this.#holds = this.#holds.filter((other) => other !== hold);
    return this.#holds.length < before;
  }

  #reconsider(): void {
    const newest = this.#holds.at(-1);
    if (newest === undefined) this.#close();
    else if (newest.userId !== this.snapshot.value.userId) this.#aim(newest.userId).catch(() => undefined);
  }

  #aim(userId: string): Promise<void> {
    if (this.snapshot.value.userId === userId) {
      if (this.#phase.kind === 'open') return Promise.resolve();
      if (this.#phase.kind !== 'idle') return this.#outcome();
    } else {
      this.#abort(`connecting as ${userId} instead`);
      this.#tearDown('io client disconnect');
    }
    return this.#start(userId);
  }

  #start(userId: string): Promise<void> {
    this.#failures = 0;
    this.#patch({ state: ConnectionState.CONNECTING, userId, error: null });
    this.#stopWaking ??= this.#runtime.onWake(() => this.#wake());
    const outcome = this.#outcome();
    this.#schedule(0);
    return outcome;
  }

  #close(): void {
    if (this.#phase.kind === 'idle' && this.snapshot.value === IDLE) return;
    this.#abort('disconnected');
    this.#tearDown('io client disconnect');
    this.#stopWaking?.();
    this.#stopWaking = null;
    this.#forgetLoss();
    this.#failures = 0;
    this.snapshot.set(IDLE);
  }

  #schedule(delayMs: number): void {
    const spacing = this.#lastOpenAt + OPEN_SPACING_MS - this.#runtime.clock.now();
    const timer = this.#runtime.clock.setTimeout(() => void this.#open(), Math.max(delayMs, spacing, 0));
    this.#phase = { kind: 'scheduled', timer };
  }

  #wake(): void {
    if (this.#phase.kind !== 'scheduled') return;
    this.#runtime.clock.clearTimeout(this.#phase.timer);
    this.#schedule(0);
  }

  async #open(): Promise<void> {
    const preparing: Phase = { kind: 'preparing' };
    this.#phase = preparing;
    this.#lastOpenAt = this.#runtime.clock.now();
    let socket: GatewaySocket;
    try {
      const { url, auth } = await this.#options.prepare();
      // Torn down meanwhile, or started anew: this attempt is nobody's any more.
      if (this.#phase !== preparing) return;
      socket = this.#runtime.createSocket(url, { auth });
    } catch (error) {
      if (this.#phase === preparing) this.#fail(toRoomcastError(error));
      return;
    }
    const timer = this.#runtime.clock.setTimeout(
      () => this.#fail(new NetworkError('the gateway did not answer in time')),
      OPEN_TIMEOUT_MS,
    );
    this.#phase = { kind: 'opening', socket, timer };
    socket.on('connect', () => this.#opened(socket));
    socket.on('disconnect', (reason: string) => this.#dropped(reason));
    socket.on('connect_error', (error: Error & { data?: { code?: string } }) => {
      const refused = !socket.active;
      const code = error.data?.code;
      this.#fail(
        refused
          ? new RefusedError({ message: error.message, ...(code && { code: code as never }) })
          : new NetworkError(error.message, { cause: error }),
      );
    });
    socket.onAny((name, payload) => this.events.emit('event', name, payload));
    socket.connect();
  }

  #opened(socket: GatewaySocket): void {
    if (this.#phase.kind !== 'opening') return;
    this.#runtime.clock.clearTimeout(this.#phase.timer);
    this.#phase = { kind: 'open', socket, since: this.#runtime.clock.now() };
    const wasLost = this.snapshot.value.lost;
    this.#forgetLoss();
    this.#patch({ state: ConnectionState.CONNECTED, error: null, lost: false });
    this.request('join-user', this.snapshot.value.userId).catch((error: unknown) => {
      // A server of the guide's does not ack; a connection that broke tells so itself.
      if (error instanceof RefusedError) this.events.emit('failed', error);
    });
    this.events.emit('open');
    if (wasLost) this.events.emit('restored');
    this.#settle((pending) => pending.resolve());
  }

  #dropped(reason: string): void {
    if (this.#phase.kind !== 'open') return;
    const lived = this.#runtime.clock.now() - this.#phase.since;
    this.#failures = lived < STABLE_AFTER_MS ? this.#failures + 1 : 1;
    this.#tearDown(reason);
    this.#patch({ state: ConnectionState.RECONNECTING });
    this.#lostTimer ??= this.#runtime.clock.setTimeout(() => {
      this.#patch({ lost: true });
      this.events.emit('lost', reason);
    }, LOST_AFTER_MS);
    this.#schedule(backoffMs(this.#failures, this.#runtime.random()));
  }

  #fail(error: RoomcastError): void {
    this.#tearDown('transport error');
    this.#failures += 1;
    if (error.retryable) {
      this.#patch({ state: ConnectionState.RECONNECTING, error });
      this.#schedule(backoffMs(this.#failures, this.#runtime.random()));
    } else {
      this.#patch({ state: ConnectionState.DISCONNECTED, error });
    }
    this.events.emit('failed', error);
    this.#settle((pending) => pending.reject(error));
  }

  /** Ends what is under way without a verdict on it. */
  #tearDown(reason: string): void {
    const phase = this.#phase;
    this.#phase = { kind: 'idle' };
    if (phase.kind === 'scheduled' || phase.kind === 'opening') this.#runtime.clock.clearTimeout(phase.timer);
    if (phase.kind === 'opening' || phase.kind === 'open') {
      phase.socket.removeAllListeners();
      phase.socket.offAny();
      phase.socket.disconnect();
    }
    if (phase.kind === 'open') {
      for (const fail of [...this.#unanswered]) fail(new NotConnectedError());
      this.events.emit('close', reason);
    }
  }

  #forgetLoss(): void {
    if (this.#lostTimer !== null) this.#runtime.clock.clearTimeout(this.#lostTimer);
    this.#lostTimer = null;
  }

  #abort(why: string): void {
    this.#settle((pending) => pending.reject(new ConnectionAbortedError(why)));
  }

  #outcome(): Promise<void> {
    this.#pending ??= newPending();
    return this.#pending.promise;
  }

  #settle(settle: (pending: Pending) => void): void {
    const pending = this.#pending;
    this.#pending = null;
    if (pending) settle(pending);
  }

  #patch(change: Partial<ConnectionSnapshot>): void {
    this.snapshot.set({ ...this.snapshot.value, ...change });
  }
}

function newPending(): Pending {
  let settle: Pick<Pending, 'resolve' | 'reject'> | undefined;
  const promise = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject };
  });
  if (settle === undefined) throw new Error('a promise runs its executor at once');
  return { promise, ...settle };
}

function isFailure(ack: unknown): ack is AckFailure {
  return typeof ack === 'object' && ack !== null && 'ok' in ack && ack.ok === false;
}
