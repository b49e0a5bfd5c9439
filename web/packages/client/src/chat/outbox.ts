/**
 * Sends the own messages of one chat sequentially. All attempts of a message have the same `clientMsgId`, so that the
 * server stores it once.
 *
 * - No response, or no access token: retried with backoff until a response arrives.
 * - A rate limit: retried when the server says, however often.
 * - Another retryable error response: retried, up to `MAX_ERROR_RESPONSES` attempts.
 * - A permanent error response: the message fails, and the next one is sent.
 */
import type { RoomcastApi } from '../api.ts';
import { backoffMs } from '../connection/backoff.ts';
import { ConnectionAbortedError, ProblemError, type RoomcastError, toRoomcastError } from '../errors.ts';
import type { Attachment, Message, SendMessage } from '../generated/contract.ts';
import type { Runtime } from '../platform/runtime.ts';
import { Timer } from '../platform/timer.ts';

const MAX_ERROR_RESPONSES = 6;

/** A message to send, with its files as the entry shows them. */
export type Outgoing = Omit<SendMessage, 'files'> & { clientMsgId: string; attachments?: readonly Attachment[] };

export interface OutboxEvents {
  sent: (message: Message) => void;
  failed: (outgoing: Outgoing, error: RoomcastError) => void;
  /** A rate limit delays the messages by this many milliseconds; null: no longer. */
  held: (forMs: number | null) => void;
}

interface Item {
  readonly outgoing: Outgoing;
  failures: number;
  errorResponses: number;
}

export class Outbox {
  readonly #api: Pick<RoomcastApi, 'sendMessage'>;
  readonly #runtime: Pick<Runtime, 'clock' | 'random'>;
  readonly #events: OutboxEvents;
  readonly #retryTimer: Timer;
  #queue: Item[] = [];
  /** True while a rate limit delays the queue. */
  #held = false;
  /** The head of the queue while its request or its backoff is running. */
  #current: Item | null = null;

  constructor(api: Pick<RoomcastApi, 'sendMessage'>, runtime: Pick<Runtime, 'clock' | 'random'>, events: OutboxEvents) {
    this.#api = api;
    this.#runtime = runtime;
    this.#events = events;
    this.#retryTimer = new Timer(runtime.clock);
  }

  add(outgoing: Outgoing): void {
    this.#queue.push({ outgoing, failures: 0, errorResponses: 0 });
    this.#startNext();
  }

  /** Removes a message whose event has arrived: the server has stored it, so no further attempt is made. */
  confirm(clientMsgId: string): void {
    this.#remove(this.#queue.find((item) => item.outgoing.clientMsgId === clientMsgId));
  }

  /** Ends the backoff and retries now, unless a rate limit would refuse it. */
  wake(): void {
    if (!this.#retryTimer.isRunning || this.#held) return;
    this.#retryTimer.cancel();
    if (this.#current) void this.#attempt(this.#current);
  }

  /** Fails all queued messages. */
  close(): void {
    const queued = this.#queue;
    this.#queue = [];
    this.#current = null;
    this.#retryTimer.cancel();
    this.#hold(null);
    for (const { outgoing } of queued) {
      this.#events.failed(outgoing, new ConnectionAbortedError('the client was closed'));
    }
  }

  #startNext(): void {
    const head = this.#queue[0];
    if (this.#current !== null || head === undefined) return;
    this.#current = head;
    void this.#attempt(head);
  }

  #hold(forMs: number | null): void {
    if (!this.#held && forMs === null) return;
    this.#held = forMs !== null;
    this.#events.held(forMs);
  }

  async #attempt(item: Item): Promise<void> {
    this.#hold(null);
    try {
      const message = await this.#api.sendMessage(toCommand(item.outgoing));
      if (!this.#remove(item)) return;
      this.#events.sent(message);
    } catch (caught) {
      // `confirm` or `close` removed the message during the request.
      if (this.#current !== item) return;
      const error = toRoomcastError(caught);
      item.failures += 1;
      const limited = error instanceof ProblemError && error.code === 'rate-limited';
      if (error instanceof ProblemError && !limited) item.errorResponses += 1;
      if (error.retryable && item.errorResponses < MAX_ERROR_RESPONSES) {
        const pauseMs = Math.max(backoffMs(item.failures, this.#runtime.random()), error.retryAfterMs);
        this.#retryTimer.start(() => void this.#attempt(item), pauseMs);
        if (limited) this.#hold(pauseMs);
        return;
      }
      this.#remove(item);
      this.#events.failed(item.outgoing, error);
    }
  }

  #remove(item: Item | undefined): boolean {
    if (item === undefined || !this.#queue.includes(item)) return false;
    this.#queue = this.#queue.filter((other) => other !== item);
    if (this.#current === item) {
      this.#current = null;
      this.#retryTimer.cancel();
      this.#hold(null);
      // Deferred until the caller has reported the outcome of this message.
      queueMicrotask(() => this.#startNext());
    }
    return true;
  }
}

function toCommand({ attachments, ...message }: Outgoing): SendMessage {
  // Left out without files: earlier servers refuse fields that they do not know.
  return attachments
    ? { ...message, files: attachments.map(({ id }) => id) as SendMessage['files'] & object }
    : message;
}
