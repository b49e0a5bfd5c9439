/**
 * Sends the own messages of one chat, one at a time and in order, each with one `clientMsgId` for all of its attempts,
 * so that the server keeps it once.
 *
 * No answer: tried again until there is one, because a person who is in a tunnel wants it sent after the tunnel. An
 * answer that says "later": a few times. A refusal: failed at once, and the next one has its turn.
 */
import type { RoomcastApi } from './api.ts';
import { backoffMs } from './backoff.ts';
import { ConnectionAbortedError, NetworkError, type RoomcastError, toRoomcastError } from './errors.ts';
import type { Message, SendMessage } from './generated/contract.ts';
import type { Runtime, TimerHandle } from './runtime.ts';

const MAX_REFUSALS = 6;

export type Outgoing = SendMessage & { clientMsgId: string };

export interface OutboxEvents {
  sent: (message: Message) => void;
  failed: (outgoing: Outgoing, error: RoomcastError) => void;
}

interface Item {
  readonly outgoing: Outgoing;
  failures: number;
  refusals: number;
}

export class Outbox {
  readonly #api: Pick<RoomcastApi, 'sendMessage'>;
  readonly #runtime: Pick<Runtime, 'clock' | 'random'>;
  readonly #events: OutboxEvents;
  #queue: Item[] = [];
  /** The head of the queue while its request or its wait goes on. */
  #current: Item | null = null;
  #timer: TimerHandle | null = null;

  constructor(api: Pick<RoomcastApi, 'sendMessage'>, runtime: Pick<Runtime, 'clock' | 'random'>, events: OutboxEvents) {
    this.#api = api;
    this.#runtime = runtime;
    this.#events = events;
  }

  get isEmpty(): boolean {
    return this.#queue.length === 0;
  }

  add(outgoing: Outgoing): void {
    this.#queue.push({ outgoing, failures: 0, refusals: 0 });
    this.#next();
  }

  /** The server has it, as another way than the request's answer showed: its attempts end. */
  settle(clientMsgId: string): void {
    this.#remove(this.#queue.find((item) => item.outgoing.clientMsgId === clientMsgId));
  }

  /** Tries now what waits for its next attempt. */
  wake(): void {
    if (this.#timer === null) return;
    this.#stopWaiting();
    if (this.#current) void this.#attempt(this.#current);
  }

  /** Gives up what is left. */
  close(): void {
    const left = this.#queue;
    this.#queue = [];
    this.#current = null;
    this.#stopWaiting();
    for (const { outgoing } of left) this.#events.failed(outgoing, new ConnectionAbortedError('the client was closed'));
  }

  #next(): void {
    const head = this.#queue[0];
    if (this.#current !== null || head === undefined) return;
    this.#current = head;
    void this.#attempt(head);
  }

  async #attempt(item: Item): Promise<void> {
    try {
      const message = await this.#api.sendMessage(item.outgoing);
      if (!this.#remove(item)) return;
      this.#events.sent(message);
    } catch (caught) {
      // Settled meanwhile: the answer was lost, the message was not.
      if (this.#current !== item) return;
      const error = toRoomcastError(caught);
      item.failures += 1;
      if (!(error instanceof NetworkError)) item.refusals += 1;
      if (error.retryable && item.refusals < MAX_REFUSALS) {
        this.#timer = this.#runtime.clock.setTimeout(
          () => {
            this.#timer = null;
            void this.#attempt(item);
          },
          backoffMs(item.failures, this.#runtime.random()),
        );
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
      this.#stopWaiting();
      // After the caller has told what became of this one.
      queueMicrotask(() => this.#next());
    }
    return true;
  }

  #stopWaiting(): void {
    if (this.#timer !== null) this.#runtime.clock.clearTimeout(this.#timer);
    this.#timer = null;
  }
}
