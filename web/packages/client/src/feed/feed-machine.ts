/**
 * State machine of one chat's feed: delivers every event once and in order of seq.
 *
 * Pure: `transition` maps a state and an input to a new state and effects, which `feed.ts` executes. Only one activity
 * runs at any time. If no activity is running, `plan` starts the next one:
 *
 *     a snapshot is needed           → load      GET messages; its {epoch, seq} is the cursor
 *     connected but not joined       → join      with the cursor; replay precedes the ack
 *     events exist beyond the cursor → backfill  GET events after the cursor, page by page
 *     after a temporary failure      → wait      backoff, then plan again
 *     after a permanent failure      → denied    until the next connection or start
 *
 * Live events are buffered during an activity. A result has the `op` of its activity; an outdated result is ignored.
 *
 * Source: docs/design.md, "Joins" and "The client".
 */
import { AckTimeoutError, type RoomcastError } from '../errors.ts';
import type { ChatEvent, Cursor, EventPage, JoinChatAck, MessagePage, Resync } from '../generated/contract.ts';

/** Events beyond this limit are not buffered. `target` holds their highest seq, so that they are fetched later. */
const MAX_BUFFERED_EVENTS = 1_000;
/** If more events are missing, a shown chat loads a new snapshot instead. */
const MAX_BACKFILL_EVENTS = 2_000;
/** The missing events count as lost after this number of consecutive pages without new events. */
const MAX_STALLS = 3;

/** An event with its position in the chat. `epoch` is the epoch in which it was written. */
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
  /** True if a view shows the chat: the feed starts with a page of messages, otherwise with the next event. */
  readonly shown: boolean;
  readonly connected: boolean;
  /** True if the chat is joined on the current connection. */
  readonly joined: boolean;
  /** Seq of the chat at its join with `stream` on the current connection: chunks of later turns arrive; else null. */
  readonly streamedFrom: number | null;
  readonly needsLoad: boolean;
  /** True if the next snapshot belongs to a different history than the present entries. */
  readonly reset: boolean;
  readonly cursor: Cursor | null;
  /** Highest known seq. */
  readonly target: number;
  /** Events beyond the cursor, ascending by seq. */
  readonly buffer: readonly SequencedEvent[];
  readonly activity: Activity;
  /** Id of the current activity; increases with each activity. */
  readonly op: number;
  /** Consecutive failures. */
  readonly failures: number;
  /** Consecutive backfill pages without new events. */
  readonly stalls: number;
  /** The last failure, kept while the request is retried; null after a success. */
  readonly error: RoomcastError | null;
}

export type FeedInput =
  | { readonly type: 'start'; readonly shown: boolean }
  | { readonly type: 'stop' }
  /** The user changed: all state of the chat is discarded. */
  | { readonly type: 'restart' }
  | { readonly type: 'opened' }
  | { readonly type: 'closed' }
  | { readonly type: 'wake' }
  | { readonly type: 'live'; readonly event: SequencedEvent }
  | { readonly type: 'resync'; readonly resync: Resync }
  /** An event with this seq exists. */
  | { readonly type: 'behind'; readonly seq: number }
  | { readonly type: 'loaded'; readonly op: number; readonly page: MessagePage }
  | { readonly type: 'joined'; readonly op: number; readonly ack: JoinChatAck }
  | { readonly type: 'paged'; readonly op: number; readonly page: EventPage }
  | { readonly type: 'failed'; readonly op: number; readonly error: RoomcastError }
  | { readonly type: 'waited'; readonly op: number };

export type FeedEffect =
  | { readonly type: 'load'; readonly op: number }
  /** `stream`: receive the chunks of answers. The guide's handlers of a chat without views get whole messages only. */
  | { readonly type: 'join'; readonly op: number; readonly since: Cursor | null; readonly stream: boolean }
  | { readonly type: 'backfill'; readonly op: number; readonly after: Cursor }
  | { readonly type: 'wait'; readonly op: number; readonly failures: number }
  | { readonly type: 'leave' }
  | { readonly type: 'deliver'; readonly events: readonly SequencedEvent[] }
  | { readonly type: 'replace'; readonly page: MessagePage; readonly reset: boolean }
  /** The chat is joined with `stream`: the chunks of running turns are missing. */
  | { readonly type: 'streams' }
  /** Events up to `to` cannot be fetched and are reported as missing. */
  | { readonly type: 'skipped'; readonly to: number; readonly error: RoomcastError | null };

export const INITIAL_FEED: FeedState = {
  active: false,
  shown: false,
  connected: false,
  joined: false,
  streamedFrom: null,
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

/** Applies one input; returns the new state and the effects to execute. */
export function transition(state: FeedState, input: FeedInput): [FeedState, FeedEffect[]] {
  const effects: FeedEffect[] = [];
  const next = plan(deliverBuffered(applyInput(state, input, effects), effects), effects);
  return [next, effects];
}

/** True if the chat is joined and no event is known to be missing. */
export function isSynced(state: FeedState): boolean {
  return state.active && state.joined && state.activity.kind === 'none';
}

function applyInput(state: FeedState, input: FeedInput, effects: FeedEffect[]): FeedState {
  switch (input.type) {
    case 'start': {
      const shown = state.shown || input.shown;
      const isFirstView = shown && !(state.active && state.shown);
      const needsLoad = state.needsLoad || (isFirstView && (!state.shown || state.cursor === null));
      const started = { ...state, active: true, shown, needsLoad };
      // An activity of a chat without views is obsolete if the chat must load first.
      return !state.active || (needsLoad && !state.needsLoad) || state.activity.kind === 'denied'
        ? idle(started)
        : started;
    }
    case 'stop':
      if (state.active && state.connected && (state.joined || state.activity.kind === 'join'))
        effects.push({ type: 'leave' });
      return { ...idle(state), active: false, joined: false, streamedFrom: null, buffer: [] };
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
      const opened = { ...state, connected: true, joined: false, streamedFrom: null };
      return state.activity.kind === 'wait' || state.activity.kind === 'denied' ? idle(opened) : opened;
    }
    case 'closed': {
      // The next connection may serve another history, so the buffered events are dropped and fetched again. `target`
      // holds their last seq; for a chat without a cursor, the cursor set here holds the seq before the first.
      const [first] = state.buffer;
      const cursor =
        state.shown || first === undefined
          ? state.cursor
          : (state.cursor ?? { epoch: first.epoch, seq: first.seq - 1 });
      const closed = { ...state, connected: false, joined: false, streamedFrom: null, cursor, buffer: [] };
      return state.activity.kind === 'join' ? idle(closed) : closed;
    }
    case 'wake':
      return state.activity.kind === 'wait' ? idle(state) : state;
    case 'live':
      return state.active ? bufferEvent(state, input.event) : state;
    case 'resync':
      if (!state.active) return state;
      if (input.resync.reset) return resetTo(state, input.resync);
      return { ...state, target: Math.max(state.target, input.resync.seq) };
    case 'behind':
      return { ...state, target: Math.max(state.target, input.seq) };
    case 'loaded':
      if (input.op !== state.op) return state;
      // After a reset during the load, the page may be of the old history: `plan` starts another load.
      return state.needsLoad ? idle(state) : applySnapshot(idle(state), input.page, effects);
    case 'joined':
      return input.op === state.op ? applyJoinAck(idle(state), input.ack, effects) : state;
    case 'paged':
      return input.op === state.op ? applyEventPage(idle(state), input.page, effects) : state;
    case 'failed':
      return input.op === state.op ? applyFailure(state, input.error, effects) : state;
    case 'waited':
      return input.op === state.op ? idle(state) : state;
  }
}

/** Ends the current activity; its result will be ignored. */
function idle(state: FeedState): FeedState {
  return { ...state, activity: NONE, op: state.op + 1 };
}

function bufferEvent(state: FeedState, event: SequencedEvent): FeedState {
  if (state.cursor !== null && event.seq <= state.cursor.seq) return state;
  const target = Math.max(state.target, event.seq);
  const index = state.buffer.findIndex((other) => other.seq >= event.seq);
  if (index === -1) {
    // A full buffer keeps the oldest events, which are needed first.
    return {
      ...state,
      target,
      buffer: state.buffer.length < MAX_BUFFERED_EVENTS ? [...state.buffer, event] : state.buffer,
    };
  }
  if (state.buffer[index]?.seq === event.seq) return state;
  return { ...state, target, buffer: state.buffer.toSpliced(index, 0, event).slice(0, MAX_BUFFERED_EVENTS) };
}

/** The server reported that the cursor belongs to a different history. */
function resetTo(state: FeedState, now: { epoch: string; seq: number }): FeedState {
  const emptied = { ...state, buffer: [], target: now.seq, stalls: 0 };
  if (!state.shown) return { ...emptied, cursor: { epoch: now.epoch, seq: now.seq } };
  return { ...emptied, cursor: null, needsLoad: true, reset: true };
}

function applySnapshot(state: FeedState, page: MessagePage, effects: FeedEffect[]): FeedState {
  effects.push({ type: 'replace', page, reset: state.reset });
  return {
    ...state,
    reset: false,
    cursor: { epoch: page.epoch, seq: page.seq },
    buffer: state.buffer.filter((event) => event.seq > page.seq),
    // The page may lack events that were announced during the load, or, from a lagging replica, delivered before it.
    target: Math.max(page.seq, state.target),
    failures: 0,
    error: null,
  };
}

function applyJoinAck(state: FeedState, ack: JoinChatAck, effects: FeedEffect[]): FeedState {
  const joined = { ...state, joined: true, streamedFrom: state.shown ? ack.seq : null, failures: 0, error: null };
  if (ack.reset) return resetTo(joined, ack);
  if (state.shown) effects.push({ type: 'streams' });
  const first = state.buffer[0];
  // Without a cursor, the chat starts at the ack, or at the first buffered event if an earlier join received no ack.
  const cursor = state.cursor ?? {
    epoch: ack.epoch,
    seq: Math.min(ack.seq, first === undefined ? ack.seq : first.seq - 1),
  };
  return {
    ...joined,
    // If no event is missing, the cursor can use the current epoch, which the server will recognize for longest.
    cursor: cursor.seq === ack.seq ? { epoch: ack.epoch, seq: ack.seq } : cursor,
    target: Math.max(state.target, ack.seq),
  };
}

function applyEventPage(state: FeedState, page: EventPage, effects: FeedEffect[]): FeedState {
  if (page.reset) return resetTo(state, page);
  const { cursor } = state;
  if (cursor === null) return state;
  const events = page.events
    .filter((event) => event.seq > cursor.seq)
    .map((event) => toSequencedEvent(event, page.epoch));
  const last = events.at(-1);
  if (last === undefined) return recordStall(state, effects);
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

/** The page had no new events although `target` is beyond the cursor: a lagging replica, or a wrong `target`. */
function recordStall(state: FeedState, effects: FeedEffect[]): FeedState {
  const stalls = state.stalls + 1;
  if (stalls < MAX_STALLS) return backOff({ ...state, stalls }, effects);
  return skipMissing({ ...state, stalls: 0 }, null, effects);
}

/** Continues without the missing events: a shown chat from a new snapshot, any other from the next buffered event. */
function skipMissing(state: FeedState, error: RoomcastError | null, effects: FeedEffect[]): FeedState {
  if (state.shown) return reload(state);
  effects.push({ type: 'skipped', to: state.target, error });
  const from = (state.buffer[0]?.seq ?? state.target + 1) - 1;
  return { ...state, cursor: state.cursor && { epoch: state.cursor.epoch, seq: Math.max(state.cursor.seq, from) } };
}

/** Replaces the missing events by a new snapshot, which ends at the server's last event: a wrong `target` is dropped. */
function reload(state: FeedState): FeedState {
  return { ...state, buffer: [], target: state.cursor?.seq ?? 0, needsLoad: true };
}

function applyFailure(state: FeedState, error: RoomcastError, effects: FeedEffect[]): FeedState {
  const { kind } = state.activity;
  const failed = idle({ ...state, needsLoad: state.needsLoad || kind === 'load', failures: state.failures + 1, error });
  // The guide's server joins without an ack.
  if (kind === 'join' && !state.shown && error instanceof AckTimeoutError)
    return { ...failed, joined: true, failures: 0, error: null };
  if (kind === 'join' && !state.connected) return failed;
  if (error.retryable) return backOff(failed, effects);
  if (kind === 'backfill' && !state.shown) return skipMissing(failed, error, effects);
  return { ...failed, activity: { kind: 'denied', error } };
}

function backOff(state: FeedState, effects: FeedEffect[]): FeedState {
  const op = state.op + 1;
  effects.push({ type: 'wait', op, failures: Math.max(1, state.failures + state.stalls) });
  return { ...state, op, activity: { kind: 'wait' } };
}

/** Delivers the buffered events that follow the cursor, unless the running activity may change the cursor. */
function deliverBuffered(state: FeedState, effects: FeedEffect[]): FeedState {
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

/** Starts the next activity if none is running. */
function plan(state: FeedState, effects: FeedEffect[]): FeedState {
  if (!state.active || state.activity.kind !== 'none') return state;
  const op = state.op + 1;
  if (state.needsLoad) {
    effects.push({ type: 'load', op });
    return { ...state, op, needsLoad: false, activity: { kind: 'load' } };
  }
  if (state.connected && (!state.joined || (state.shown && state.streamedFrom === null))) {
    effects.push({ type: 'join', op, since: state.cursor, stream: state.shown });
    return { ...state, op, activity: { kind: 'join' } };
  }
  if (state.cursor !== null && state.target > state.cursor.seq) {
    if (state.shown && state.target - state.cursor.seq > MAX_BACKFILL_EVENTS) {
      return plan(reload(state), effects);
    }
    effects.push({ type: 'backfill', op, after: state.cursor });
    return { ...state, op, activity: { kind: 'backfill' } };
  }
  return state;
}

function toSequencedEvent({ seq, event, data }: ChatEvent, epoch: string): SequencedEvent {
  return { seq, event, data, epoch: typeof data['epoch'] === 'string' ? data['epoch'] : epoch };
}
