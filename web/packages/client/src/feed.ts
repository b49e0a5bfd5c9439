/** Carries out what the feed's state machine decides: requests, joins and waits of one chat. */
import type { RoomcastApi } from './api.ts';
import { backoffMs } from './backoff.ts';
import type { Connection } from './connection.ts';
import { toRoomcastError } from './errors.ts';
import { type FeedEffect, type FeedInput, type FeedState, INITIAL_FEED, step } from './feed-machine.ts';
import type { JoinChatAck } from './generated/contract.ts';
import type { Runtime, TimerHandle } from './runtime.ts';

/** As many as the API gives in one answer. */
const BACKFILL_PAGE = 500;

export type Outcome = Extract<FeedEffect, { type: 'deliver' | 'replace' | 'skipped' }>;

export interface FeedDependencies {
  api: Pick<RoomcastApi, 'listMessages' | 'listEvents'>;
  connection: Pick<Connection, 'request' | 'emit'>;
  runtime: Pick<Runtime, 'clock' | 'random'>;
  pageSize: number;
}

export class Feed {
  readonly #chatId: string;
  readonly #dependencies: FeedDependencies;
  readonly #onOutcome: (outcome: Outcome) => void;
  readonly #onChange: () => void;
  #state = INITIAL_FEED;
  #timer: TimerHandle | null = null;

  /**
   * @param onOutcome takes events and snapshots, in order
   * @param onChange hears of every other change of `state`
   */
  constructor(
    chatId: string,
    dependencies: FeedDependencies,
    onOutcome: (outcome: Outcome) => void,
    onChange: () => void,
  ) {
    this.#chatId = chatId;
    this.#dependencies = dependencies;
    this.#onOutcome = onOutcome;
    this.#onChange = onChange;
  }

  get state(): FeedState {
    return this.#state;
  }

  send(input: FeedInput): void {
    const [state, effects] = step(this.#state, input);
    if (state === this.#state) return;
    this.#state = state;
    // Before the new activities start: a snapshot is shown before anything that follows it.
    for (const effect of effects) {
      if (effect.type === 'deliver' || effect.type === 'replace' || effect.type === 'skipped') this.#onOutcome(effect);
    }
    if (state.activity.kind !== 'wait') this.#stopWaiting();
    for (const effect of effects) this.#run(effect);
    this.#onChange();
  }

  #run(effect: FeedEffect): void {
    const { api, connection, runtime, pageSize } = this.#dependencies;
    const chatId = this.#chatId;
    switch (effect.type) {
      case 'load':
        this.#settle(effect.op, api.listMessages(chatId, { limit: pageSize }), (page) => ({
          type: 'loaded',
          op: effect.op,
          page,
        }));
        return;
      case 'join': {
        // The guide's own form where there is nothing to add: then its own server understands it, too.
        const payload = effect.since === null ? chatId : { chatId, since: effect.since };
        const ack = connection.request<JoinChatAck>('join-chat', payload);
        this.#settle(effect.op, ack, (joined) => ({ type: 'joined', op: effect.op, ack: joined }));
        return;
      }
      case 'backfill': {
        const { seq: after, epoch } = effect.after;
        const page = api.listEvents(chatId, { after, epoch, limit: BACKFILL_PAGE });
        this.#settle(effect.op, page, (events) => ({ type: 'paged', op: effect.op, page: events }));
        return;
      }
      case 'wait':
        this.#stopWaiting();
        this.#timer = runtime.clock.setTimeout(
          () => {
            this.#timer = null;
            this.send({ type: 'waited', op: effect.op });
          },
          backoffMs(effect.failures, runtime.random()),
        );
        return;
      case 'leave':
        connection.emit('leave-chat', chatId);
        return;
      case 'deliver':
      case 'replace':
      case 'skipped':
    }
  }

  #settle<T>(op: number, result: Promise<T>, toInput: (value: T) => FeedInput): void {
    result.then(
      (value) => this.send(toInput(value)),
      (error: unknown) => this.send({ type: 'failed', op, error: toRoomcastError(error) }),
    );
  }

  #stopWaiting(): void {
    if (this.#timer !== null) this.#dependencies.runtime.clock.clearTimeout(this.#timer);
    this.#timer = null;
  }
}
