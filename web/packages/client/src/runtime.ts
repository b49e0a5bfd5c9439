/** What the client takes from its surroundings: time, chance, network. Tests hand in their own. */
import { io } from 'socket.io-client';

export type TimerHandle = number | object;

export interface Clock {
  /** Monotonic milliseconds. */
  now(): number;
  setTimeout(callback: () => void, delayMs: number): TimerHandle;
  clearTimeout(timer: TimerHandle): void;
}

/** The part of socket.io-client's `Socket` that is used. */
export interface GatewaySocket {
  readonly connected: boolean;
  /** False once the server refused it: a transport's failure leaves it true. */
  readonly active: boolean;
  on(event: string, listener: (...args: never[]) => void): unknown;
  onAny(listener: (event: string, ...args: unknown[]) => void): unknown;
  emit(event: string, ...args: unknown[]): unknown;
  connect(): unknown;
  disconnect(): unknown;
  removeAllListeners(): unknown;
  offAny(): unknown;
}

export interface GatewaySocketOptions {
  /** Travels in the CONNECT packet, never in a URL. */
  auth: Record<string, unknown>;
}

export interface Runtime {
  clock: Clock;
  fetch: typeof fetch;
  /** Between 0 (included) and 1. */
  random: () => number;
  newId: () => string;
  /** Makes a socket that does not connect by itself, neither now nor again. */
  createSocket: (url: string, options: GatewaySocketOptions) => GatewaySocket;
  /** Calls back when waiting longer makes no sense: the network is back, or the tab is looked at again. */
  onWake: (callback: () => void) => () => void;
  /** Origin of the page, or null outside of a browser. */
  pageOrigin: () => string | null;
}

const HANDSHAKE_TIMEOUT_MS = 10_000;

function createOfficialSocket(url: string, { auth }: GatewaySocketOptions): GatewaySocket {
  return io(url, {
    transports: ['websocket', 'polling'],
    // Without it a proxy that refuses WebSocket would never be answered with polling.
    tryAllTransports: true,
    timeout: HANDSHAKE_TIMEOUT_MS,
    forceNew: true,
    autoConnect: false,
    reconnection: false, // `Connection` owns the only loop.
    auth,
  });
}

function onWake(callback: () => void): () => void {
  if (typeof window === 'undefined') return () => undefined;
  const onVisible = (): void => {
    if (document.visibilityState === 'visible') callback();
  };
  window.addEventListener('online', callback);
  document.addEventListener('visibilitychange', onVisible);
  return () => {
    window.removeEventListener('online', callback);
    document.removeEventListener('visibilitychange', onVisible);
  };
}

function newId(): string {
  // Old browsers, and pages that are not served securely (http:// on a LAN), have no randomUUID.
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export const platformRuntime: Runtime = {
  clock: {
    now: () => performance.now(),
    setTimeout: (callback, delayMs) => setTimeout(callback, delayMs),
    clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
  },
  // Looked up at each call, so that a page may replace it (tracing, tests).
  fetch: (input, init) => fetch(input, init),
  random: Math.random,
  newId,
  createSocket: createOfficialSocket,
  onWake,
  pageOrigin: () => (typeof window === 'undefined' ? null : window.location.origin),
};
