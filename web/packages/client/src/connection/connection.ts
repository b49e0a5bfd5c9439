/**
 * The connection of a client to the gateway, with its only reconnect loop.
 *
 * The loop of socket.io-client is disabled: it cannot resolve the gateway address before each attempt, it stops after a
 * disconnect by the server, and its delay has no jitter at the maximum.
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
} from '../errors.ts';
import type { AckFailure, JoinUserAck, RefreshAuthAck } from '../generated/contract.ts';
import { Emitter, Observable, patch } from '../platform/observable.ts';
import type { GatewaySocket, GatewaySocketOptions, Runtime } from '../platform/runtime.ts';
import { Timer } from '../platform/timer.ts';
import { TokenRefresh } from './token-refresh.ts';
import { ConnectionState } from '../types.ts';

/** Minimum interval between attempts, for rapid user switches and repeated `reconnect` calls. */
const OPEN_SPACING_MS = 300;
/** Timeout of the transport and namespace handshakes; longer than the timeout of the transport alone. */
const OPEN_TIMEOUT_MS = 15_000;
const ACK_TIMEOUT_MS = 10_000;
/** After a sleep or a change of the network, an open connection counts as dead without an ack within this time. */
const PROBE_TIMEOUT_MS = 4_000;
/** A connection counts as lost after an interruption of this length. */
const LOST_AFTER_MS = 2_000;
/** A connection that closes before this age counts as a failed attempt, so that the backoff grows. */
const STABLE_AFTER_MS = 5_000;

/** Immutable state of the connection. */
export interface ConnectionSnapshot {
  readonly state: ConnectionState;
  /** The user of the connection or of the last attempt; null before `connect` and after `disconnect`. */
  readonly userId: string | null;
  /** Why the last attempt failed; null once connected. */
  readonly error: RoomcastError | null;
  /** An established connection has been down for at least 2 s. */
  readonly lost: boolean;
}

export interface ConnectionEvents {
  open: () => void;
  close: (reason: string) => void;
  failed: (error: RoomcastError) => void;
  lost: (reason: string) => void;
  restored: () => void;
  /** Any event from the gateway. */
  event: (name: string, payload: unknown) => void;
}

export interface ConnectionOptions {
  /** Returns the arguments of `Runtime.createSocket`; called before each attempt. */
  prepare: () => Promise<{ url: string } & GatewaySocketOptions>;
  /** Returns the current access token; null: none is required. Called again before the token of a connection expires. */
  token: () => Promise<string | null>;
  /** Called when the token cannot be renewed. The attempt is repeated. */
  report: (message: string) => void;
}

type Phase =
  | { kind: 'idle' | 'scheduled' | 'preparing' }
  | { kind: 'opening'; socket: GatewaySocket }
  | { kind: 'open'; socket: GatewaySocket; since: number };

interface Hold {
  readonly userId: string;
}

interface PendingConnect {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: RoomcastError) => void;
}

/** The snapshot without a connection. */
export const INITIAL_CONNECTION: ConnectionSnapshot = {
  state: ConnectionState.DISCONNECTED,
  userId: null,
  error: null,
  lost: false,
};

export class Connection {
  readonly snapshot = new Observable(INITIAL_CONNECTION);
  readonly events = new Emitter<ConnectionEvents>();
  readonly #options: ConnectionOptions;
  readonly #runtime: Runtime;
  #phase: Phase = { kind: 'idle' };
  /** Delay of the phase `scheduled`, timeout of the phase `opening`. */
  readonly #phaseTimer: Timer;
  /** Callers that need the connection, newest last; the newest determines the user. */
  #holds: Hold[] = [];
  /** The hold of `connect`. */
  #explicitHold: Hold | null = null;
  #pending: PendingConnect | null = null;
  #failures = 0;
  #lastOpenAt = Number.NEGATIVE_INFINITY;
  readonly #lostTimer: Timer;
  /** Runs while a probe waits for its ack. */
  readonly #probeTimer: Timer;
  readonly #tokenRefresh: TokenRefresh;
  /** Rejects each request that has no ack yet. */
  readonly #pendingRequests = new Set<(error: RoomcastError) => void>();

  constructor(options: ConnectionOptions, runtime: Runtime) {
    this.#options = options;
    this.#runtime = runtime;
    this.#phaseTimer = new Timer(runtime.clock);
    this.#lostTimer = new Timer(runtime.clock);
    this.#probeTimer = new Timer(runtime.clock);
    this.#tokenRefresh = new TokenRefresh({
      ...options,
      clock: runtime.clock,
      send: async (token) => (await this.request<RefreshAuthAck>('auth-refresh', { token })).expiresIn,
    });
  }

  get isOpen(): boolean {
    return this.#phase.kind === 'open';
  }

  /**
   * Connects as a user, until `disconnect`.
   *
   * @returns Resolves when connected; rejects with the first failure. Retries continue unless it was permanent.
   *   Concurrent calls for the same user share one promise.
   */
  connect(userId: string): Promise<void> {
    this.#dropHold(this.#explicitHold);
    this.#explicitHold = { userId };
    this.#holds.push(this.#explicitHold);
    return this.#openAs(userId);
  }

  /** Holds the connection for one caller. It closes one macrotask after the last release. */
  acquire(userId: string): () => void {
    const hold: Hold = { userId };
    this.#holds.push(hold);
    // The snapshot shows the outcome.
    this.#openAs(userId).catch(() => undefined);
    return () => {
      if (!this.#dropHold(hold)) return;
      // Deferred, because StrictMode and navigation between pages release and acquire within one task.
      this.#runtime.clock.setTimeout(() => this.#followNewestHold(), 0);
    };
  }

  disconnect(): void {
    this.#holds = [];
    this.#explicitHold = null;
    this.#close();
  }

  /** Replaces the current connection with a new one, without backoff. */
  reconnect(): Promise<void> {
    const { userId } = this.snapshot.value;
    if (userId === null) return Promise.reject(new ConnectionAbortedError('No userId available for reconnection'));
    this.#tearDown('io client disconnect');
    return this.#start(userId);
  }

  /** The network changed or the machine slept: ends the backoff, or checks that an open connection still works. */
  wake(): void {
    if (this.#phase.kind === 'scheduled') this.#schedule(0);
    if (this.#phase.kind !== 'open' || this.#probeTimer.isRunning) return;
    this.#probeTimer.start(() => this.#dropped('ping timeout'), PROBE_TIMEOUT_MS);
    const stop = (): void => this.#probeTimer.cancel();
    // A rejection by the gateway also shows that the connection works.
    this.request('ping').then(stop, stop);
  }

  emit(event: string, payload: unknown): void {
    if (this.#phase.kind !== 'open') throw new NotConnectedError();
    this.#phase.socket.emit(event, payload);
  }

  /**
   * Emits an event and waits for its ack.
   *
   * @returns The ack. Rejects with a RefusedError, AckTimeoutError or NotConnectedError.
   */
  request<Ack>(event: string, ...payload: unknown[]): Promise<Ack> {
    if (this.#phase.kind !== 'open') return Promise.reject(new NotConnectedError());
    const { socket } = this.#phase;
    return new Promise<Ack>((resolve, reject) => {
      const settle = (): void => {
        this.#runtime.clock.clearTimeout(timer);
        this.#pendingRequests.delete(fail);
      };
      const fail = (error: RoomcastError): void => {
        settle();
        reject(error);
      };
      const timer = this.#runtime.clock.setTimeout(() => fail(new AckTimeoutError(event)), ACK_TIMEOUT_MS);
      this.#pendingRequests.add(fail);
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

  #followNewestHold(): void {
    const newest = this.#holds.at(-1);
    if (newest === undefined) this.#close();
    else if (newest.userId !== this.snapshot.value.userId) this.#openAs(newest.userId).catch(() => undefined);
  }

  /** Opens a connection as a user, unless a connection of that user is open or being opened. */
  #openAs(userId: string): Promise<void> {
    if (this.snapshot.value.userId === userId) {
      if (this.#phase.kind === 'open') return Promise.resolve();
      if (this.#phase.kind !== 'idle') return this.#pendingPromise();
    } else {
      this.#rejectPending(`a connect as ${userId} replaced this attempt`);
      this.#tearDown('io client disconnect');
    }
    return this.#start(userId);
  }

  #start(userId: string): Promise<void> {
    this.#failures = 0;
    this.#patch({ state: ConnectionState.CONNECTING, userId, error: null });
    const outcome = this.#pendingPromise();
    this.#schedule(0);
    return outcome;
  }

  #close(): void {
    if (this.#phase.kind === 'idle' && this.snapshot.value === INITIAL_CONNECTION) return;
    this.#rejectPending('the client disconnected');
    this.#tearDown('io client disconnect');
    this.#lostTimer.cancel();
    this.#failures = 0;
    this.snapshot.set(INITIAL_CONNECTION);
  }

  #schedule(delayMs: number): void {
    const spacing = this.#lastOpenAt + OPEN_SPACING_MS - this.#runtime.clock.now();
    this.#phase = { kind: 'scheduled' };
    this.#phaseTimer.start(() => void this.#open(), Math.max(delayMs, spacing, 0));
  }

  async #open(): Promise<void> {
    const preparing: Phase = { kind: 'preparing' };
    this.#phase = preparing;
    this.#lastOpenAt = this.#runtime.clock.now();
    let socket: GatewaySocket;
    try {
      const { url, ...options } = await this.#options.prepare();
      // The attempt was canceled or replaced during `prepare`.
      if (this.#phase !== preparing) return;
      socket = this.#runtime.createSocket(url, options);
    } catch (error) {
      if (this.#phase === preparing) this.#fail(toRoomcastError(error));
      return;
    }
    this.#phase = { kind: 'opening', socket };
    this.#phaseTimer.start(
      () => this.#fail(new NetworkError('the gateway did not complete the handshake in time')),
      OPEN_TIMEOUT_MS,
    );
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
    this.#phaseTimer.cancel();
    this.#phase = { kind: 'open', socket, since: this.#runtime.clock.now() };
    const wasLost = this.snapshot.value.lost;
    this.#lostTimer.cancel();
    this.#patch({ state: ConnectionState.CONNECTED, error: null, lost: false });
    this.request<JoinUserAck | undefined>('join-user', this.snapshot.value.userId).then(
      (ack) => {
        if (this.#phase.kind === 'open' && this.#phase.socket === socket) this.#tokenRefresh.start(ack?.expiresIn);
      },
      (error: unknown) => {
        // Other errors are ignored: the guide's server sends no ack, and `close` reports a closed connection.
        if (error instanceof RefusedError) this.events.emit('failed', error);
      },
    );
    this.events.emit('open');
    if (wasLost) this.events.emit('restored');
    this.#settlePending((pending) => pending.resolve());
  }

  #dropped(reason: string): void {
    if (this.#phase.kind !== 'open') return;
    const openFor = this.#runtime.clock.now() - this.#phase.since;
    this.#failures = openFor < STABLE_AFTER_MS ? this.#failures + 1 : 1;
    this.#tearDown(reason);
    this.#patch({ state: ConnectionState.RECONNECTING });
    this.#lostTimer.start(() => {
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
    this.#settlePending((pending) => pending.reject(error));
  }

  /** Ends the current attempt or connection; does not settle the promise of `connect`. */
  #tearDown(reason: string): void {
    const phase = this.#phase;
    this.#phase = { kind: 'idle' };
    this.#phaseTimer.cancel();
    this.#probeTimer.cancel();
    this.#tokenRefresh.stop();
    if (phase.kind === 'opening' || phase.kind === 'open') {
      phase.socket.removeAllListeners();
      phase.socket.offAny();
      phase.socket.disconnect();
    }
    if (phase.kind === 'open') {
      for (const fail of [...this.#pendingRequests]) fail(new NotConnectedError());
      this.events.emit('close', reason);
    }
  }

  #rejectPending(message: string): void {
    this.#settlePending((pending) => pending.reject(new ConnectionAbortedError(message)));
  }

  #pendingPromise(): Promise<void> {
    this.#pending ??= newPendingConnect();
    return this.#pending.promise;
  }

  #settlePending(settle: (pending: PendingConnect) => void): void {
    const pending = this.#pending;
    this.#pending = null;
    if (pending) settle(pending);
  }

  #patch(change: Partial<ConnectionSnapshot>): void {
    patch(this.snapshot, change);
  }
}

function newPendingConnect(): PendingConnect {
  let settle: Pick<PendingConnect, 'resolve' | 'reject'> | undefined;
  const promise = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject };
  });
  if (settle === undefined) throw new Error('Promise did not run its executor synchronously');
  return { promise, ...settle };
}

function isFailure(ack: unknown): ack is AckFailure {
  return typeof ack === 'object' && ack !== null && 'ok' in ack && ack.ok === false;
}
