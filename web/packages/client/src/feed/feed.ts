/** Executes the effects of the feed state machine: requests, joins and backoff of one chat. */
import type { RoomcastApi } from '../api.ts';
import { backoffMs } from '../connection/backoff.ts';
import type { Connection } from '../connection/connection.ts';
import { toRoomcastError } from '../errors.ts';
import { type FeedEffect, type FeedInput, type FeedState, INITIAL_FEED, transition } from './feed-machine.ts';
import type { JoinChatAck } from '../generated/contract.ts';
import type { Runtime } from '../platform/runtime.ts';
import { Timer } from '../platform/timer.ts';

/** The API's maximum page size. */
const BACKFILL_PAGE_SIZE = 500;

const OUTPUTS = ['deliver', 'replace', 'streams', 'skipped'] as const;
/** Effects that the chat session handles. */
export type FeedOutput = Extract<FeedEffect, { type: (typeof OUTPUTS)[number] }>;

export interface FeedDependencies {
  api: Pick<RoomcastApi, 'listMessages' | 'listEvents'>;
  connection: Pick<Connection, 'request' | 'emit'>;
  runtime: Pick<Runtime, 'clock' | 'random'>;
  pageSize: number;
}

export class Feed {
  readonly #chatId: string;
  readonly #dependencies: FeedDependencies;
  readonly #onOutput: (output: FeedOutput) => void;
  readonly #onChange: () => void;
  readonly #backoffTimer: Timer;
  #state = INITIAL_FEED;

  /**
   * @param onOutput - Receives events and snapshots, in order.
   * @param onChange - Called after each change of `state`.
   */
  constructor(
    chatId: string,
    dependencies: FeedDependencies,
    onOutput: (output: FeedOutput) => void,
    onChange: () => void,
  ) {
    this.#chatId = chatId;
    this.#dependencies = dependencies;
    this.#onOutput = onOutput;
    this.#onChange = onChange;
    this.#backoffTimer = new Timer(dependencies.runtime.clock);
  }

  get state(): FeedState {
    return this.#state;
  }

  dispatch(input: FeedInput): void {
    const [state, effects] = transition(this.#state, input);
    if (state === this.#state) return;
    this.#state = state;
    // Outputs come first, so that a snapshot is applied before the next request starts.
    for (const effect of effects) if (isOutput(effect)) this.#onOutput(effect);
    if (state.activity.kind !== 'wait') this.#backoffTimer.cancel();
    for (const effect of effects) if (!isOutput(effect)) this.#run(effect);
    this.#onChange();
  }

  #run(effect: Exclude<FeedEffect, FeedOutput>): void {
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
        // Without a cursor the payload is the plain chat id, which the reference guide's server accepts too.
        const { since, stream } = effect;
        const payload = since === null ? chatId : { chatId, since, ...(stream && { stream }) };
        const ack = connection.request<JoinChatAck>('join-chat', payload);
        this.#settle(effect.op, ack, (joined) => ({ type: 'joined', op: effect.op, ack: joined }));
        return;
      }
      case 'backfill': {
        const { seq: after, epoch } = effect.after;
        const page = api.listEvents(chatId, { after, epoch, limit: BACKFILL_PAGE_SIZE });
        this.#settle(effect.op, page, (events) => ({ type: 'paged', op: effect.op, page: events }));
        return;
      }
      case 'wait':
        this.#backoffTimer.start(
          () => this.dispatch({ type: 'waited', op: effect.op }),
          backoffMs(effect.failures, runtime.random()),
        );
        return;
      case 'leave':
        connection.emit('leave-chat', chatId);
    }
  }

  #settle<T>(op: number, result: Promise<T>, toInput: (value: T) => FeedInput): void {
    result.then(
      (value) => this.dispatch(toInput(value)),
      (error: unknown) => this.dispatch({ type: 'failed', op, error: toRoomcastError(error) }),
    );
  }
}

function isOutput(effect: FeedEffect): effect is FeedOutput {
  return (OUTPUTS as readonly string[]).includes(effect.type);
}
