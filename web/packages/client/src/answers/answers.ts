/**
 * The growing answers of one chat: applies `ai-chunk`, and requests a snapshot with `ai-resume` when chunks are missing.
 *
 * The chunks of a turn that arrive while a snapshot is requested are applied after it. A request that fails, or that
 * returns less than has been seen, is repeated with backoff until the turn ends.
 */
import { Answer, type Frame } from './answer.ts';
import { backoffMs } from '../connection/backoff.ts';
import type { Connection } from '../connection/connection.ts';
import { toRoomcastError } from '../errors.ts';
import type { AiEnd, Message, ResumeAnswerAck } from '../generated/contract.ts';
import type { Runtime } from '../platform/runtime.ts';
import { Timer } from '../platform/timer.ts';

/** Views are notified of new chunks at most once in this time. */
const FLUSH_MS = 40;
/** A chat has one streaming turn. More are those whose end has not arrived yet. */
const MAX_ANSWERS = 4;
/** More frames are not kept for the time after a snapshot: they are requested again. */
const MAX_WAITING = 1_000;

interface Growing {
  readonly answer: Answer;
  readonly retryTimer: Timer;
  /** Frames that do not follow, received during a request. */
  waiting: Frame[];
  resuming: boolean;
  failures: number;
}

export interface AnswersDependencies {
  connection: Pick<Connection, 'request'>;
  runtime: Pick<Runtime, 'clock' | 'random'>;
}

export interface AnswersEvents {
  /** True if the chat is joined with `stream` on the current connection. Each such join calls `resume`. */
  joined: () => boolean;
  grown: (turnId: string, answer: Answer) => void;
}

export class Answers {
  readonly #chatId: string;
  readonly #dependencies: AnswersDependencies;
  readonly #events: AnswersEvents;
  readonly #growing = new Map<string, Growing>();
  readonly #changed = new Set<string>();
  readonly #flushTimer: Timer;
  #flushedAt = Number.NEGATIVE_INFINITY;

  constructor(chatId: string, dependencies: AnswersDependencies, events: AnswersEvents) {
    this.#chatId = chatId;
    this.#dependencies = dependencies;
    this.#events = events;
    this.#flushTimer = new Timer(dependencies.runtime.clock);
  }

  receive(frame: Frame): void {
    const growing = this.#open(frame.turnId);
    if (this.#accept(growing, frame)) return;
    if (growing.waiting.length < MAX_WAITING) growing.waiting.push(frame);
    if (!growing.retryTimer.isRunning) this.resume(frame.turnId);
  }

  /** Requests a snapshot, unless a request is running. */
  resume(turnId: string): void {
    const growing = this.#open(turnId);
    if (growing.resuming || !this.#events.joined()) return;
    growing.resuming = true;
    growing.retryTimer.cancel();
    const payload = { chatId: this.#chatId, turnId };
    this.#dependencies.connection.request<ResumeAnswerAck>('ai-resume', payload).then(
      (ack) => this.#resumed(turnId, growing, ack, true),
      (error: unknown) => this.#resumed(turnId, growing, null, toRoomcastError(error).retryable),
    );
  }

  /** Notifies the views of the answer, if there is one. */
  touch(turnId: string): void {
    if ((this.#growing.get(turnId)?.answer.last ?? -1) < 0) return;
    this.#changed.add(turnId);
    if (this.#flushTimer.isRunning) return;
    const due = this.#flushedAt + FLUSH_MS - this.#dependencies.runtime.clock.now();
    this.#flushTimer.start(() => this.#flush(), Math.max(0, due));
  }

  /** The message of an ended turn; null unless all its chunks are here: then the message must be fetched. */
  complete(end: AiEnd): Message | null {
    const answer = this.#growing.get(end.turn.id)?.answer;
    if (!answer?.exact || answer.generation !== end.turn.generation || answer.last !== end.turn.last) return null;
    const parts = answer.parts as unknown as Message['parts'];
    return { ...end, content: answer.content, parts, userId: null, clientMsgId: null, status: 'sent' };
  }

  /** Forgets an answer, whose turn has ended. */
  drop(turnId: string): void {
    this.#growing.get(turnId)?.retryTimer.cancel();
    this.#growing.delete(turnId);
    this.#changed.delete(turnId);
  }

  clear(): void {
    for (const turnId of [...this.#growing.keys()]) this.drop(turnId);
  }

  #open(turnId: string): Growing {
    const known = this.#growing.get(turnId);
    if (known) return known;
    const [oldest] = this.#growing.keys();
    if (oldest !== undefined && this.#growing.size >= MAX_ANSWERS) this.drop(oldest);
    const retryTimer = new Timer(this.#dependencies.runtime.clock);
    const growing = { answer: new Answer(), retryTimer, waiting: [], resuming: false, failures: 0 };
    this.#growing.set(turnId, growing);
    return growing;
  }

  #accept({ answer }: Growing, frame: Frame): boolean {
    const { last, generation } = answer;
    const accepted = answer.accept(frame);
    if (answer.last !== last || answer.generation !== generation) this.touch(frame.turnId);
    return accepted;
  }

  #resumed(turnId: string, growing: Growing, ack: ResumeAnswerAck | null, retryable: boolean): void {
    growing.resuming = false;
    // The turn ended during the request.
    if (this.#growing.get(turnId) !== growing) return;
    if (ack !== null) this.#accept(growing, ack);
    growing.waiting = growing.waiting.filter((frame) => !this.#accept(growing, frame));
    if (ack !== null && growing.waiting.length === 0) {
      growing.failures = 0;
    } else if (retryable) {
      growing.failures += 1;
      const delayMs = backoffMs(growing.failures, this.#dependencies.runtime.random());
      growing.retryTimer.start(() => this.resume(turnId), delayMs);
    }
  }

  #flush(): void {
    this.#flushedAt = this.#dependencies.runtime.clock.now();
    for (const turnId of this.#changed) {
      const answer = this.#growing.get(turnId)?.answer;
      if (answer) this.#events.grown(turnId, answer);
    }
    this.#changed.clear();
  }
}
