/**
 * Errors of the client.
 *
 *     RoomcastError                 base; `retryable` is true if the same request may succeed later
 *     ├── NetworkError              no response: network, proxy or server is unreachable, or a timeout expired
 *     ├── TokenError                the application's `getToken` failed, or did not settle in time
 *     ├── ProblemError              the API responded with an error (RFC 9457)
 *     ├── RefusedError              the gateway rejected a connection or an event
 *     ├── AckTimeoutError           the gateway did not acknowledge an event in time
 *     ├── NotConnectedError         the call needs an open connection
 *     └── ConnectionAbortedError    the caller disconnected, closed the client or switched the user
 */
import type { AckError, ErrorCode, Problem, ProblemItem } from './generated/contract.ts';

/** Base of all errors of this package. */
export abstract class RoomcastError extends Error {
  /** True if the same request may succeed later without a change on either side. */
  abstract readonly retryable: boolean;
  /** Milliseconds before which the server refuses the same request; 0 if it named no time. */
  readonly retryAfterMs: number = 0;
}

/** Longest time that is waited for at once: a proxy may name any time. */
const MAX_WAIT_S = 60;

/** Milliseconds of a number of seconds: `Retry-After` or `retryAfter`; 0 for anything else. */
function milliseconds(seconds: unknown, mostS = MAX_WAIT_S): number {
  return Math.min(mostS, Math.max(0, Number(seconds) || 0)) * 1_000;
}

/** No response was received, or it could not be read; `cause` holds the original error. */
export class NetworkError extends RoomcastError {
  override readonly name = 'NetworkError';
  readonly retryable = true;
}

/** `getToken` of the application threw, rejected, or had no result within 10 s; `cause` holds the original error. */
export class TokenError extends RoomcastError {
  override readonly name = 'TokenError';
  readonly retryable = true;
}

/** An error response of the API. */
export class ProblemError extends RoomcastError {
  override readonly name = 'ProblemError';
  /** HTTP status. */
  readonly status: number;
  /** Stable, machine-readable code; null if the response did not come from Roomcast (a proxy, for example). */
  readonly code: ErrorCode | null;
  /** One item for each invalid part of the request. */
  readonly items: readonly ProblemItem[];
  /** Id of the request in the log of the API; null if the response did not come from Roomcast. */
  readonly requestId: string | null;
  override readonly retryAfterMs: number;

  constructor(status: number, problem: Partial<Problem>, retryAfter: string | null = null) {
    super(problem.detail ?? problem.title ?? `the API responded with status ${status}`);
    this.status = status;
    this.code = problem.code ?? null;
    this.items = problem.errors ?? [];
    this.requestId = problem.requestId ?? null;
    // The client does not wait for a quota: the page says when it is full again.
    this.retryAfterMs = milliseconds(retryAfter, this.code === 'quota-reached' ? Infinity : MAX_WAIT_S);
  }

  get retryable(): boolean {
    // Only hours later.
    if (this.code === 'quota-reached') return false;
    // 408, 425 and 429 are temporary. Of the 5xx statuses, only 501 is permanent.
    return [408, 425, 429].includes(this.status) || (this.status >= 500 && this.status !== 501);
  }
}

const RETRYABLE_CODES: ReadonlySet<string> = new Set<ErrorCode>([
  'unavailable',
  'internal',
  'limit-reached',
  'rate-limited',
]);

/** The gateway rejected the connection (`connect_error`) or an event (in its ack). */
export class RefusedError extends RoomcastError {
  override readonly name = 'RefusedError';
  /** Stable, machine-readable code; null if the gateway sent none. */
  readonly code: string | null;
  override readonly retryAfterMs: number;

  constructor(refusal: Partial<AckError>) {
    super(refusal.message ?? 'the gateway rejected the request');
    this.code = refusal.code ?? null;
    this.retryAfterMs = milliseconds(refusal.retryAfter);
  }

  get retryable(): boolean {
    return this.code !== null && RETRYABLE_CODES.has(this.code);
  }
}

/** No ack within 10 s. */
export class AckTimeoutError extends RoomcastError {
  override readonly name = 'AckTimeoutError';
  readonly retryable = true;

  constructor(event: string) {
    super(`the gateway did not acknowledge ${event} in time`);
  }
}

/** There is no open connection, or it closed before the ack. */
export class NotConnectedError extends RoomcastError {
  override readonly name = 'NotConnectedError';
  readonly retryable = true;

  constructor() {
    super('Socket not connected');
  }
}

/** The caller ended the attempt: by `disconnect`, by `close`, or by a connect as another user. */
export class ConnectionAbortedError extends RoomcastError {
  override readonly name = 'ConnectionAbortedError';
  readonly retryable = false;
}

/** Returns a `RoomcastError` unchanged; wraps anything else in a `NetworkError`. */
export function toRoomcastError(error: unknown): RoomcastError {
  if (error instanceof RoomcastError) return error;
  return new NetworkError(messageOf(error), { cause: error });
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
