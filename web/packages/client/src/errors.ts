/**
 * Everything that can go wrong, as types.
 *
 *     RoomcastError                 base; `retryable` says whether the same request may succeed later
 *     ├── NetworkError              no answer: the network, a proxy or the server is away
 *     ├── ProblemError              the API answered with an error (RFC 9457)
 *     ├── RefusedError              the gateway refused a connection or an event
 *     ├── AckTimeoutError           the gateway did not answer an event in time
 *     ├── NotConnectedError         needs a connection, and there is none
 *     └── ConnectionAbortedError    the caller gave the connection up, or asked for another user meanwhile
 */
import type { AckError, ErrorCode, Problem, ProblemItem } from './generated/contract.ts';

export abstract class RoomcastError extends Error {
  /** The same request may succeed later without anybody changing anything. */
  abstract readonly retryable: boolean;
}

export class NetworkError extends RoomcastError {
  override readonly name = 'NetworkError';
  readonly retryable = true;
}

/** The API's answer to a request that it did not fulfil. */
export class ProblemError extends RoomcastError {
  override readonly name = 'ProblemError';
  readonly status: number;
  /** Stable name for programs; null when the answer came from something else than Roomcast, such as a proxy. */
  readonly code: ErrorCode | null;
  /** What is wrong with which part of the request. */
  readonly items: readonly ProblemItem[];

  constructor(status: number, problem: Partial<Problem>) {
    super(problem.detail ?? problem.title ?? `the API answered ${status}`);
    this.status = status;
    this.code = problem.code ?? null;
    this.items = problem.errors ?? [];
  }

  get retryable(): boolean {
    // 408 and 425 ask for a repeat, 429 for a later one; of the server's own failures only 501 is for good.
    return [408, 425, 429].includes(this.status) || (this.status >= 500 && this.status !== 501);
  }
}

const RETRYABLE_CODES: ReadonlySet<string> = new Set<ErrorCode>(['unavailable', 'internal', 'limit-reached']);

/** The gateway said no: to the connection, or to an event in its ack. */
export class RefusedError extends RoomcastError {
  override readonly name = 'RefusedError';
  readonly code: string | null;

  constructor(refusal: Partial<AckError>) {
    super(refusal.message ?? 'the gateway refused');
    this.code = refusal.code ?? null;
  }

  get retryable(): boolean {
    return this.code !== null && RETRYABLE_CODES.has(this.code);
  }
}

export class AckTimeoutError extends RoomcastError {
  override readonly name = 'AckTimeoutError';
  readonly retryable = true;

  constructor(event: string) {
    super(`the gateway did not answer ${event} in time`);
  }
}

export class NotConnectedError extends RoomcastError {
  override readonly name = 'NotConnectedError';
  readonly retryable = true;

  constructor() {
    super('Socket not connected');
  }
}

export class ConnectionAbortedError extends RoomcastError {
  override readonly name = 'ConnectionAbortedError';
  readonly retryable = false;
}

export function toRoomcastError(error: unknown): RoomcastError {
  if (error instanceof RoomcastError) return error;
  return new NetworkError(error instanceof Error ? error.message : String(error), { cause: error });
}
