/** Side effects of the client behind one interface: clock, randomness and network. Tests replace them. */
import { io } from 'socket.io-client';

/** Handle that `Clock.setTimeout` returns. */
export type TimerHandle = number | object;

/** Time source and timers. */
export interface Clock {
  /** Monotonic time in milliseconds. */
  now(): number;
  setTimeout(callback: () => void, delayMs: number): TimerHandle;
  clearTimeout(timer: TimerHandle): void;
}

/** The part of socket.io-client's `Socket` that the client uses. */
export interface GatewaySocket {
  /** False after the server rejected the connection; true after a transport failure. */
  readonly active: boolean;
  on(event: string, listener: (...args: never[]) => void): unknown;
  onAny(listener: (event: string, ...args: unknown[]) => void): unknown;
  emit(event: string, ...args: unknown[]): unknown;
  connect(): unknown;
  disconnect(): unknown;
  removeAllListeners(): unknown;
  offAny(): unknown;
}

/** Options of `Runtime.createSocket`. */
export interface GatewaySocketOptions {
  /** Path of the Socket.IO server, such as `/socket.io/`. */
  path: string;
  /** Payload of the CONNECT packet; never part of a URL. */
  auth: Record<string, unknown>;
}

/** The environment of a client; `ClientOptions.runtime` can replace each member. */
export interface Runtime {
  clock: Clock;
  fetch: typeof fetch;
  /** A number in [0, 1). */
  random: () => number;
  /** A unique id for a new message. */
  newId: () => string;
  /** Creates a socket that connects only when `connect()` is called: no automatic connection or reconnection. */
  createSocket: (url: string, options: GatewaySocketOptions) => GatewaySocket;
  /**
   * Calls back when a retry may succeed and an open connection may be dead: the network changed, the page became
   * visible or was resumed, or the machine slept.
   *
   * @returns A function that removes the callback.
   */
  onWake: (callback: () => void) => () => void;
  /** Origin of the page; null outside a browser. */
  pageOrigin: () => string | null;
}

const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Interval of the timer that detects a sleep of the machine. */
const SLEEP_CHECK_MS = 2_000;
/** A timer that is later than this counts as a sleep; longer than a busy page delays a timer. */
const SLEEP_MS = 5_000;

function createOfficialSocket(url: string, { path, auth }: GatewaySocketOptions): GatewaySocket {
  return io(url, {
    path,
    transports: ['websocket', 'polling'],
    // Otherwise a proxy that rejects WebSocket would prevent the fallback to polling.
    tryAllTransports: true,
    timeout: HANDSHAKE_TIMEOUT_MS,
    forceNew: true,
    autoConnect: false,
    reconnection: false, // `Connection` reconnects.
    auth,
  });
}

function onWake(callback: () => void): () => void {
  const unsubscribe = [onSleep(callback)];
  const listen = (target: EventTarget, name: string, listener: () => void): void => {
    target.addEventListener(name, listener);
    unsubscribe.push(() => target.removeEventListener(name, listener));
  };
  if (typeof window !== 'undefined') {
    // `offline` also, because socket.io-client ignores it on localhost, where a connection may survive it.
    for (const name of ['online', 'offline', 'pageshow']) listen(window, name, callback);
    listen(document, 'resume', callback);
    listen(document, 'visibilitychange', () => {
      if (document.visibilityState === 'visible') callback();
    });
  }
  return () => {
    for (const remove of unsubscribe) remove();
  };
}

/** Calls back after a sleep of the machine, which stops timers but not the wall clock. */
function onSleep(callback: () => void): () => void {
  let checkedAt = Date.now();
  const timer = setInterval(() => {
    const now = Date.now();
    const slept = now - checkedAt > SLEEP_CHECK_MS + SLEEP_MS;
    checkedAt = now;
    if (slept) callback();
  }, SLEEP_CHECK_MS);
  // In Node.js a timer is an object, and must not keep the process alive.
  (timer as { unref?: () => void }).unref?.();
  return () => clearInterval(timer);
}

function newId(): string {
  try {
    return crypto.randomUUID();
  } catch {
    // It is missing in old browsers and in insecure contexts (http:// on a LAN).
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  }
}

export const platformRuntime: Runtime = {
  clock: {
    now: () => performance.now(),
    setTimeout: (callback, delayMs) => setTimeout(callback, delayMs),
    clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
  },
  // The global `fetch` is looked up at each call, so that a page can replace it (tracing, tests).
  fetch: (input, init) => fetch(input, init),
  random: Math.random,
  newId,
  createSocket: createOfficialSocket,
  onWake,
  pageOrigin: () => (typeof window === 'undefined' ? null : window.location.origin),
};
