/**
 * Every event of one chat, once and in order: the state machine.
 *
 * Pure: inputs in, a new state and effects out; `feed.ts` carries the effects out. The state is a set of facts and at
 * most one activity under way; whenever there is none, `plan` looks at the facts and chooses the next:
 *
 *     needs a snapshot              → load      GET messages gives {epoch, seq}, the cursor
 *     connected, not in the room    → join      with the cursor; replay precedes the ack
 *     knows of events beyond cursor → backfill  GET events after the cursor, page by page
 *     a passing failure             → wait      then plan again
 *     a refusal                     → denied    until the next connection or start
 *
 * While an activity is under way live events are buffered. Each result names its activity (`op`): a late one is ignored.
 *
 * Source: DESIGN §4.4 and §4.5.
 */
import { AckTimeoutError, type RoomcastError } from './errors.ts';
import type { ChatEvent, Cursor, EventPage, JoinChatAck, MessagePage, Resync } from './generated/contract.ts';

/** What arrives faster than it can be merged is not lost: `target` remembers it and it is fetched. */
const MAX_BUFFERED_EVENTS = 1_000;
/** Further behind than this a shown chat starts again from its newest page. */
const MAX_BACKFILL_EVENTS = 2_000;
/** An API that keeps answering without the events that it must have is believed at last. */
const MAX_STALLS = 3;

/** An event with its place in the chat. `epoch` is that of its writing. */
export interface SequencedEvent {
  readonly seq: number;
  readonly epoch: string;
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

type Activity =
  | { readonly kind: 'none' | 'load' | 'join' | 'backfill' | 'wait' }
  | { readonly kind: 'denied'; readonly error: RoomcastError };

export interface FeedState {
  readonly active: boolean;
  /** Somebody shows the chat, so it starts from a page of messages; else it starts with what comes next. */
  readonly shown: boolean;
  readonly connected: boolean;
  /** In the room, on the present connection. */
  readonly joined: boolean;
  readonly needsLoad: boolean;
  /** The snapshot to come replaces another history, not merely an old page. */
  readonly reset: boolean;
  readonly cursor: Cursor | null;
  /** Highest seq that is known to exist. */
  readonly target: number;
  /** Ascending by seq, each beyond the cursor. */
  readonly buffer: readonly SequencedEvent[];
  readonly activity: Activity;
  readonly op: number;
  readonly failures: number;
  readonly stalls: number;
  /** The last failure, also while it is tried again; null after a success. */
  readonly error: RoomcastError | null;
}

export type FeedInput =
  | { readonly type: 'start'; readonly shown: boolean }
  | { readonly type: 'stop' }
  /** Forget everything: another user sees the chat now. */
  | { readonly type: 'restart' }
  | { readonly type: 'opened' }
  | { readonly type: 'closed' }
  | { readonly type: 'wake' }
  | { readonly type: 'live'; readonly event: SequencedEvent }
  | { readonly type: 'resync'; readonly resync: Resync }
  | { readonly type: 'behind'; readonly seq: number }
  | { readonly type: 'loaded'; readonly op: number; readonly page: MessagePage }
  | { readonly type: 'joined'; readonly op: number; readonly ack: JoinChatAck }
  | { readonly type: 'paged'; readonly op: number; readonly page: EventPage }
  | { readonly type: 'failed'; readonly op: number; readonly error: RoomcastError }
  | { readonly type: 'waited'; readonly op: number };

export type FeedEffect =
  | { readonly type: 'load'; readonly op: number }
  | { readonly type: 'join'; readonly op: number; readonly since: Cursor | null }
  | { readonly type: 'backfill'; readonly op: number; readonly after: Cursor }
  | { readonly type: 'wait'; readonly op: number; readonly failures: number }
  | { readonly type: 'leave' }
  | { readonly type: 'deliver'; readonly events: readonly SequencedEvent[] }
  | { readonly type: 'replace'; readonly page: MessagePage; readonly reset: boolean }
  /** Events up to `to` cannot be had: said, never hidden. */
  | { readonly type: 'skipped'; readonly to: number; readonly error: RoomcastError | null };

export const INITIAL_FEED: FeedState = {
  active: false,
  shown: false,
  connected: false,
  joined: false,
  needsLoad: false,
  reset: false,
  cursor: null,
  target: 0,
  buffer: [],
  activity: { kind: 'none' },
  op: 0,
  failures: 0,
  stalls: 0,
  error: null,
};

const NONE: Activity = { kind: 'none' };

/** Takes one input. */
export function step(state: FeedState, input: FeedInput): [FeedState, FeedEffect[]] {
  const effects: FeedEffect[] = [];
  const next = plan(drain(take(state, input, effects), effects), effects);
  return [next, effects];
}

/** Live, nothing missing as far as known. */
export function isSynced(state: FeedState): boolean {
  return state.active && state.joined && state.activity.kind === 'none';
}

function take(state: FeedState, input: FeedInput, effects: FeedEffect[]): FeedState {
  switch (input.type) {
    case 'start': {
      const shown = state.shown || input.shown;
      const isFirstView = shown && !(state.active && state.shown);
      const needsLoad = state.needsLoad || (isFirstView && (!state.shown || state.cursor === null));
      const started = { ...state, active: true, shown, needsLoad };
      // What is under way for a chat that nobody showed is of no use to one that must load first.
      return !state.active || (needsLoad && !state.needsLoad) || state.activity.kind === 'denied'
        ? idle(started)
        : started;
    }
    case 'stop':
      if (state.active && state.connected && (state.joined || state.activity.kind === 'join'))
        effects.push({ type: 'leave' });
      return { ...idle(state), active: false, joined: false, buffer: [] };
    case 'restart':
      return {
        ...INITIAL_FEED,
        op: state.op + 1,
        active: state.active,
        connected: state.connected,
        joined: state.joined,
        shown: state.active && state.shown,
        needsLoad: state.active && state.shown,
        reset: true,
      };
    case 'opened': {
      const opened = { ...state, connected: true, joined: false };
      return state.activity.kind === 'wait' || state.activity.kind === 'denied' ? idle(opened) : opened;
    }
    case 'closed': {
      // The history may be another one at the next connection: what was held is fetched again, not kept. `target` still
      // knows how far it went, and the cursor of a chat that had none, from where.
      const [first] = state.buffer;
      const cursor =
        state.shown || first === undefined
          ? state.cursor
          : (state.cursor ?? { epoch: first.epoch, seq: first.seq - 1 });
      const closed = { ...state, connected: false, joined: false, cursor, buffer: [] };
      return state.activity.kind === 'join' ? idle(closed) : closed;
    }
    case 'wake':
      return state.activity.kind === 'wait' ? idle(state) : state;
    case 'live':
      return state.active ? hold(state, input.event) : state;
    case 'resync':
      if (!state.active) return state;
      if (input.resync.reset) return startOver(state, input.resync);
      return { ...state, target: Math.max(state.target, input.resync.seq) };
    case 'behind':
      return { ...state, target: Math.max(state.target, input.seq) };
    case 'loaded':
      return input.op === state.op ? takeSnapshot(idle(state), input.page, effects) : state;
    case 'joined':
      return input.op === state.op ? takeAck(idle(state), input.ack) : state;
    case 'paged':
      return input.op === state.op ? takePage(idle(state), input.page, effects) : state;
    case 'failed':
      return input.op === state.op ? takeFailure(state, input.error, effects) : state;
    case 'waited':
      return input.op === state.op ? idle(state) : state;
  }
}

/** Ends the activity; its result will be ignored. */
function idle(state: FeedState): FeedState {
  return { ...state, activity: NONE, op: state.op + 1 };
}

function hold(state: FeedState, event: SequencedEvent): FeedState {
  if (state.cursor !== null && event.seq <= state.cursor.seq) return state;
  const target = Math.max(state.target, event.seq);
  const index = state.buffer.findIndex((other) => other.seq >= event.seq);
  if (index === -1) {
    // Of too many the newest go: the oldest are what is needed next.
    return {
      ...state,
      target,
      buffer: state.buffer.length < MAX_BUFFERED_EVENTS ? [...state.buffer, event] : state.buffer,
    };
  }
  if (state.buffer[index]?.seq === event.seq) return state;
  return { ...state, target, buffer: state.buffer.toSpliced(index, 0, event).slice(0, MAX_BUFFERED_EVENTS) };
}

/** The history is another one than that of the cursor. */
function startOver(state: FeedState, now: { epoch: string; seq: number }): FeedState {
  const emptied = { ...state, buffer: [], target: now.seq, stalls: 0 };
  if (!state.shown) return { ...emptied, cursor: { epoch: now.epoch, seq: now.seq } };
  // A snapshot that is under way may be of the old history: `needsLoad` asks for another one after it.
  return { ...emptied, cursor: null, needsLoad: true, reset: true };
}

function takeSnapshot(state: FeedState, page: MessagePage, effects: FeedEffect[]): FeedState {
  effects.push({ type: 'replace', page, reset: state.reset });
  const buffer = state.buffer.filter((event) => event.seq > page.seq);
  return {
    ...state,
    // Asked for again meanwhile: then it is still a reset.
    reset: state.needsLoad && state.reset,
    cursor: { epoch: page.epoch, seq: page.seq },
    buffer,
    // A page from a replica that lags must not make us forget what was delivered already.
    target: Math.max(page.seq, state.cursor?.seq ?? 0, buffer.at(-1)?.seq ?? 0),
    failures: 0,
    error: null,
  };
}

function takeAck(state: FeedState, ack: JoinChatAck): FeedState {
  const joined = { ...state, joined: true, failures: 0, error: null };
  if (ack.reset) return startOver(joined, ack);
  const first = state.buffer[0];
  // Without a cursor the chat starts here, or where an earlier join that went unanswered began to bring events.
  const cursor = state.cursor ?? {
    epoch: ack.epoch,
    seq: Math.min(ack.seq, first === undefined ? ack.seq : first.seq - 1),
  };
  return {
    ...joined,
    // Nothing missing: the present epoch is a valid name for it, and the one that will be known longest.
    cursor: cursor.seq === ack.seq ? { epoch: ack.epoch, seq: ack.seq } : cursor,
    target: Math.max(state.target, ack.seq),
  };
}

function takePage(state: FeedState, page: EventPage, effects: FeedEffect[]): FeedState {
  if (page.reset) return startOver(state, page);
  const { cursor } = state;
  if (cursor === null) return state;
  const events = page.events.filter((event) => event.seq > cursor.seq).map((event) => sequenced(event, page.epoch));
  const last = events.at(-1);
  if (last === undefined) return stall(state, effects);
  effects.push({ type: 'deliver', events });
  const buffer = state.buffer.filter((event) => event.seq > last.seq);
  const target = Math.max(state.target, page.seq);
  return {
    ...state,
    cursor: { epoch: last.epoch, seq: last.seq },
    buffer,
    target,
    failures: 0,
    stalls: 0,
    error: null,
  };
}

/** The page held nothing new although something must be there: a replica that lags, or a wrong belief of ours. */
function stall(state: FeedState, effects: FeedEffect[]): FeedState {
  const stalls = state.stalls + 1;
  if (stalls < MAX_STALLS) return wait({ ...state, stalls }, effects);
  return skip({ ...state, stalls: 0 }, null, effects);
}

/** Goes on without what cannot be had: from a new snapshot where one is shown, else from the head. */
function skip(state: FeedState, error: RoomcastError | null, effects: FeedEffect[]): FeedState {
  if (state.shown) return { ...state, buffer: [], target: 0, needsLoad: true };
  effects.push({ type: 'skipped', to: state.target, error });
  const from = (state.buffer[0]?.seq ?? state.target + 1) - 1;
  return { ...state, cursor: state.cursor && { epoch: state.cursor.epoch, seq: Math.max(state.cursor.seq, from) } };
}

function takeFailure(state: FeedState, error: RoomcastError, effects: FeedEffect[]): FeedState {
  const { kind } = state.activity;
  const failed = idle({ ...state, needsLoad: state.needsLoad || kind === 'load', failures: state.failures + 1, error });
  // The guide's own server has no acks: it has joined us nevertheless.
  if (kind === 'join' && !state.shown && error instanceof AckTimeoutError)
    return { ...failed, joined: true, failures: 0, error: null };
  if (kind === 'join' && !state.connected) return failed;
  if (error.retryable) return wait(failed, effects);
  if (kind === 'backfill' && !state.shown) return skip(failed, error, effects);
  return { ...failed, activity: { kind: 'denied', error } };
}

function wait(state: FeedState, effects: FeedEffect[]): FeedState {
  const op = state.op + 1;
  effects.push({ type: 'wait', op, failures: Math.max(1, state.failures + state.stalls) });
  return { ...state, op, activity: { kind: 'wait' } };
}

/** Delivers what follows the cursor, unless an activity may still change what the cursor is. */
function drain(state: FeedState, effects: FeedEffect[]): FeedState {
  if (!state.active || state.needsLoad || ['load', 'join', 'backfill'].includes(state.activity.kind)) return state;
  const first = state.buffer[0];
  if (first === undefined) return state;
  let cursor = state.cursor ?? { epoch: first.epoch, seq: first.seq - 1 };
  const events: SequencedEvent[] = [];
  let index = 0;
  for (const event of state.buffer) {
    if (event.seq > cursor.seq + 1) break;
    if (event.seq === cursor.seq + 1) {
      events.push(event);
      cursor = { epoch: event.epoch, seq: event.seq };
    }
    index += 1;
  }
  if (events.length > 0) effects.push({ type: 'deliver', events });
  return { ...state, cursor, buffer: state.buffer.slice(index) };
}

function plan(state: FeedState, effects: FeedEffect[]): FeedState {
  if (!state.active || state.activity.kind !== 'none') return state;
  const op = state.op + 1;
  if (state.needsLoad) {
    effects.push({ type: 'load', op });
    return { ...state, op, needsLoad: false, activity: { kind: 'load' } };
  }
  if (state.connected && !state.joined) {
    effects.push({ type: 'join', op, since: state.cursor });
    return { ...state, op, activity: { kind: 'join' } };
  }
  if (state.cursor !== null && state.target > state.cursor.seq) {
    if (state.shown && state.target - state.cursor.seq > MAX_BACKFILL_EVENTS) {
      return plan({ ...state, buffer: [], needsLoad: true }, effects);
    }
    effects.push({ type: 'backfill', op, after: state.cursor });
    return { ...state, op, activity: { kind: 'backfill' } };
  }
  return state;
}

function sequenced({ seq, event, data }: ChatEvent, epoch: string): SequencedEvent {
  return { seq, event, data, epoch: typeof data['epoch'] === 'string' ? data['epoch'] : epoch };
}
