import { describe, expect, test } from 'vitest';
import { AckTimeoutError, NetworkError, ProblemError, RefusedError } from '../src/errors.ts';
import {
  type FeedEffect,
  type FeedInput,
  type FeedState,
  INITIAL_FEED,
  isSynced,
  type SequencedEvent,
  transition,
} from '../src/feed/feed-machine.ts';
import type { EventPage, JoinChatAck, MessagePage } from '../src/generated/contract.ts';

const EPOCH = 'e1';

class Machine {
  state: FeedState = INITIAL_FEED;
  effects: FeedEffect[] = [];

  send(...inputs: FeedInput[]): this {
    this.effects = [];
    for (const input of inputs) {
      const [state, effects] = transition(this.state, input);
      this.state = state;
      this.effects.push(...effects);
    }
    return this;
  }

  get op(): number {
    return this.state.op;
  }

  get kinds(): string[] {
    return this.effects.map(({ type }) => type);
  }

  get delivered(): number[] {
    return this.effects.flatMap((effect) => (effect.type === 'deliver' ? effect.events.map(({ seq }) => seq) : []));
  }

  loaded(seq: number, epoch = EPOCH): this {
    const page: MessagePage = { epoch, seq, messages: [], hasMore: false };
    return this.send({ type: 'loaded', op: this.op, page });
  }

  joined(seq: number, more: Partial<JoinChatAck> = {}): this {
    const ack: JoinChatAck = { ok: true, chatId: 'c', epoch: EPOCH, seq, recovered: true, ...more };
    return this.send({ type: 'joined', op: this.op, ack });
  }

  paged(seqs: number[], more: Partial<EventPage> = {}): this {
    const events = seqs.map((seq) => ({ seq, type: 't', event: 'new-msg', data: { epoch: EPOCH } }));
    const page: EventPage = { epoch: EPOCH, events, seq: seqs.at(-1) ?? 0, more: false, reset: false, ...more };
    return this.send({ type: 'paged', op: this.op, page });
  }

  live(...seqs: number[]): this {
    return this.send(...seqs.map((seq) => ({ type: 'live', event: event(seq) }) as const));
  }

  failed(error: NetworkError | ProblemError | RefusedError | AckTimeoutError): this {
    return this.send({ type: 'failed', op: this.op, error });
  }
}

function event(seq: number): SequencedEvent {
  return { seq, epoch: EPOCH, event: 'new-msg', data: {} };
}

/** A shown, joined chat with all events up to `seq`. */
function live(seq: number): Machine {
  return new Machine().send({ type: 'opened' }, { type: 'start', shown: true }).loaded(seq).joined(seq);
}

const unreachable = new NetworkError('unreachable');
const forbidden = new RefusedError({ code: 'forbidden' });

describe('the order of joining', () => {
  test('is snapshot, join with its cursor, live', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: true });
    expect(machine.kinds).toEqual(['load']);
    machine.loaded(7);
    expect(machine.effects).toEqual([
      expect.objectContaining({ type: 'replace', reset: false }),
      { type: 'join', op: machine.op, since: { epoch: EPOCH, seq: 7 }, stream: true },
    ]);
    expect(isSynced(machine.state)).toBe(false);
    expect(isSynced(machine.joined(7).state)).toBe(true);
  });

  test('applies the snapshot without a connection and joins once connected', () => {
    const machine = new Machine().send({ type: 'start', shown: true }).loaded(3);
    expect(machine.kinds).toEqual(['replace']);
    expect(machine.send({ type: 'opened' }).kinds).toEqual(['join']);
  });

  test('is a join without a cursor for a chat without views', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false });
    expect(machine.effects).toEqual([{ type: 'join', op: machine.op, since: null, stream: false }]);
    machine.joined(4);
    expect(machine.live(5).delivered).toEqual([5]);
  });

  test('events that arrive before the snapshot and the ack are delivered once, after them', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: true });
    expect(machine.live(3, 4).delivered).toEqual([]);
    expect(machine.loaded(3).delivered).toEqual([4]);
    expect(machine.live(6, 5, 5, 4).delivered).toEqual([]);
    expect(machine.joined(6).delivered).toEqual([5, 6]);
    expect(isSynced(machine.state)).toBe(true);
  });

  test('a joined chat that becomes shown loads, stays joined, and joins again to receive chunks', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false }).joined(4);
    expect(machine.send({ type: 'start', shown: true }).kinds).toEqual(['load']);
    expect(machine.live(5).delivered).toEqual([]);
    machine.loaded(4);
    expect(machine.effects.at(-1)).toMatchObject({ type: 'join', since: { epoch: EPOCH, seq: 5 }, stream: true });
    expect(machine.delivered).toEqual([5]);
    expect(machine.state).toMatchObject({ joined: true, streamedFrom: null });
    expect(machine.joined(5).kinds).toEqual(['streams']);
    expect(machine.state.streamedFrom).toBe(5);
    expect(isSynced(machine.state)).toBe(true);
  });

  test('a second view starts no activity, neither during the load nor after it', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: true });
    expect(machine.send({ type: 'start', shown: true }).kinds).toEqual([]);
    machine.loaded(3);
    expect(machine.send({ type: 'start', shown: true }).kinds).toEqual([]);
    machine.joined(3);
    expect(machine.send({ type: 'start', shown: true }, { type: 'start', shown: false }).kinds).toEqual([]);
  });

  test('a snapshot older than the delivered events is completed by a backfill', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false }).joined(4).live(5);
    machine.send({ type: 'start', shown: true }).loaded(3).joined(5);
    expect(machine.effects.at(-1)).toMatchObject({ type: 'backfill', after: { seq: 3 } });
  });
});

describe('live events', () => {
  test('repeats are dropped', () => {
    expect(live(5).live(5, 4, 6, 6).delivered).toEqual([6]);
  });

  test('a gap starts a backfill, after which buffered events are delivered', () => {
    const machine = live(5).live(8);
    expect(machine.effects).toEqual([{ type: 'backfill', op: machine.op, after: { epoch: EPOCH, seq: 5 } }]);
    expect(machine.live(9).delivered).toEqual([]);
    machine.paged([6, 7, 8]);
    expect(machine.delivered).toEqual([6, 7, 8, 9]);
    expect(isSynced(machine.state)).toBe(true);
  });

  test('the cursor names the epoch in which its event was written', () => {
    const machine = live(5);
    machine.send({ type: 'live', event: { ...event(6), epoch: 'e2' } });
    expect(machine.state.cursor).toEqual({ epoch: 'e2', seq: 6 });
  });

  test('beyond the buffer limit are fetched instead', () => {
    const machine = live(0).live(2);
    machine.live(...Array.from({ length: 1_500 }, (_, index) => index + 3));
    expect(machine.state.buffer).toHaveLength(1_000);
    machine.paged([1]);
    expect(machine.delivered).toHaveLength(1_001);
    expect(machine.effects.at(-1)).toMatchObject({ type: 'backfill', after: { seq: 1_001 } });
  });

  test('beyond the buffer limit during a load are fetched after it', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false }).joined(0);
    machine.send({ type: 'start', shown: true });
    machine.live(...Array.from({ length: 1_500 }, (_, index) => index + 1)).loaded(0);
    expect(machine.delivered).toHaveLength(1_000);
    expect(machine.joined(1_500).effects.at(-1)).toMatchObject({ type: 'backfill', after: { seq: 1_000 } });
  });

  test('that were buffered when the connection closed are fetched again after the next join', () => {
    const machine = live(5).live(7).send({ type: 'closed' }, { type: 'opened' });
    machine.failed(new NetworkError('unreachable')).send({ type: 'wake' });
    expect(machine.effects.at(-1)).toMatchObject({ type: 'join', since: { epoch: EPOCH, seq: 5 } });
    machine.joined(6);
    expect(machine.delivered).toEqual([]);
    expect(machine.effects.at(-1)).toMatchObject({ type: 'backfill', after: { seq: 5 } });
    // The history now ends before 7: the buffered event of the former one is not delivered.
    expect(machine.paged([6]).delivered).toEqual([6]);
  });

  test('that were buffered without an ack define the cursor of the chat', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false }).live(8, 9);
    machine.send({ type: 'closed' }, { type: 'opened' });
    expect(machine.effects).toEqual([{ type: 'backfill', op: machine.op, after: { epoch: EPOCH, seq: 7 } }]);
    machine.paged([8, 9]);
    expect(machine.delivered).toEqual([8, 9]);
    expect(machine.effects.at(-1)).toMatchObject({ type: 'join', since: { epoch: EPOCH, seq: 9 } });
  });

  test('are ignored by a stopped chat', () => {
    const machine = live(5).send({ type: 'stop' });
    expect(machine.kinds).toEqual(['leave']);
    expect(machine.live(6).effects).toEqual([]);
    expect(machine.send({ type: 'start', shown: true }).effects).toEqual([
      { type: 'join', op: machine.op, since: { epoch: EPOCH, seq: 5 }, stream: true },
    ]);
  });
});

describe('a join ack', () => {
  test('without recovery starts a backfill', () => {
    const machine = live(5).send({ type: 'closed' }, { type: 'opened' });
    expect(machine.joined(9, { recovered: false }).kinds).toEqual(['streams', 'backfill']);
  });

  test('that names a seq beyond the replayed events starts a backfill, even if it claims recovery', () => {
    const machine = live(5).send({ type: 'closed' }, { type: 'opened' }).live(6);
    machine.joined(9, { recovered: true });
    expect(machine.delivered).toEqual([6]);
    expect(machine.effects.at(-1)).toMatchObject({ type: 'backfill', after: { seq: 6 } });
  });

  test('of another history discards the state and loads again', () => {
    const machine = live(5).send({ type: 'closed' }, { type: 'opened' });
    machine.joined(2, { recovered: false, reset: true, epoch: 'e9' });
    expect(machine.kinds).toEqual(['load']);
    machine.live(3);
    machine.loaded(2, 'e9');
    expect(machine.effects[0]).toMatchObject({ type: 'replace', reset: true });
    expect(machine.delivered).toEqual([3]);
    expect(isSynced(machine.state)).toBe(true);
  });

  test('of another history moves the cursor of a chat without views', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false }).joined(5);
    machine.send({ type: 'closed' }, { type: 'opened' }).joined(2, { recovered: false, reset: true, epoch: 'e9' });
    expect(machine.state.cursor).toEqual({ epoch: 'e9', seq: 2 });
  });

  test('without missing events renews the epoch of the cursor', () => {
    const machine = live(5).send({ type: 'closed' }, { type: 'opened' }).joined(5, { epoch: 'e2' });
    expect(machine.state.cursor).toEqual({ epoch: 'e2', seq: 5 });
  });

  test('of a closed connection is ignored', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false });
    const late = machine.op;
    machine.send({ type: 'closed' }, { type: 'opened' });
    const ack: JoinChatAck = { ok: true, chatId: 'c', epoch: EPOCH, seq: 9, recovered: true };
    expect(machine.send({ type: 'joined', op: late, ack }).state.joined).toBe(false);
  });

  test('that times out counts as joined for a join of the guide’s form', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false });
    expect(machine.failed(new AckTimeoutError('join-chat')).kinds).toEqual([]);
    expect(machine.state.joined).toBe(true);
    expect(machine.live(41, 42).delivered).toEqual([41, 42]);
  });
});

describe('resync', () => {
  const resync = (seq: number, reset: boolean): FeedInput => ({
    type: 'resync',
    resync: { chatId: 'c', epoch: EPOCH, seq, reset },
  });

  test('fetches only events beyond the cursor', () => {
    expect(live(5).send(resync(5, false)).kinds).toEqual([]);
    expect(live(5).send(resync(6, false)).kinds).toEqual(['backfill']);
  });

  test('with reset loads again, even during the load of the old history', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false }).joined(9);
    machine.send({ type: 'start', shown: true }, resync(2, true));
    expect(machine.kinds).toEqual(['load']);
    machine.loaded(9, 'old');
    expect(machine.kinds).toEqual(['load']);
    machine.loaded(2, 'new');
    expect(machine.effects[0]).toMatchObject({ type: 'replace', reset: true });
    machine.joined(2, { epoch: 'new' });
    expect(machine.state.cursor).toEqual({ epoch: 'new', seq: 2 });
    expect(isSynced(machine.state)).toBe(true);
  });

  test('during a load fetches what the page lacks', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false }).joined(4);
    machine.send({ type: 'start', shown: true }, resync(9, false)).loaded(7).joined(9);
    expect(machine.effects.at(-1)).toMatchObject({ type: 'backfill', after: { seq: 7 } });
  });
});

describe('backfill', () => {
  test('fetches page by page', () => {
    const machine = live(0).live(5);
    expect(machine.paged([1, 2], { seq: 5, more: true }).kinds).toEqual(['deliver', 'backfill']);
    machine.paged([3, 4, 5]);
    expect(isSynced(machine.state)).toBe(true);
  });

  test('of another history loads again', () => {
    const machine = live(3).live(5).paged([], { reset: true, epoch: 'e9' });
    expect(machine.kinds).toEqual(['load']);
    expect(machine.state).toMatchObject({ cursor: null, reset: true, buffer: [] });
  });

  test('of a large gap is replaced by a new snapshot', () => {
    const machine = live(1).send({ type: 'behind', seq: 5_000 });
    expect(machine.kinds).toEqual(['load']);
    machine.loaded(5_000);
    expect(machine.effects[0]).toMatchObject({ type: 'replace', reset: false });
    expect(isSynced(machine.state)).toBe(true);
  });

  test('of a large gap ends with the snapshot, even if that is older', () => {
    const machine = live(1).send({ type: 'behind', seq: 5_000 }).loaded(2);
    expect(machine.kinds).toEqual(['replace']);
    expect(isSynced(machine.state)).toBe(true);
  });

  test('without new events backs off, and finally loads a new snapshot', () => {
    const machine = live(1).send({ type: 'behind', seq: 3 });
    for (const expected of [['wait'], ['wait'], ['load']]) {
      expect(machine.paged([]).kinds).toEqual(expected);
      if (expected[0] === 'wait') expect(machine.send({ type: 'waited', op: machine.op }).kinds).toEqual(['backfill']);
    }
    machine.loaded(1);
    expect(isSynced(machine.state)).toBe(true);
  });

  test('that is rejected for a chat without views is reported and skipped', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false }).joined(1).live(4);
    machine.failed(new ProblemError(404, {}));
    expect(machine.kinds).toEqual(['skipped', 'deliver']);
    expect(machine.delivered).toEqual([4]);
    expect(isSynced(machine.state)).toBe(true);
  });

  test('ignores a page that was requested before the chat was left', () => {
    const machine = live(0).live(2);
    const late = machine.op;
    machine.send({ type: 'stop' }, { type: 'start', shown: true });
    const page: EventPage = { epoch: EPOCH, events: [], seq: 2, more: false, reset: true };
    expect(machine.send({ type: 'paged', op: late, page }).kinds).toEqual([]);
  });
});

describe('failures', () => {
  test('that are temporary are retried with growing backoff, and are the error meanwhile', () => {
    const machine = new Machine().send({ type: 'start', shown: true });
    expect(machine.failed(unreachable).effects).toEqual([{ type: 'wait', op: machine.op, failures: 1 }]);
    expect(machine.state.error).toBe(unreachable);
    machine.send({ type: 'waited', op: machine.op });
    expect(machine.kinds).toEqual(['load']);
    expect(machine.failed(unreachable).effects).toEqual([{ type: 'wait', op: machine.op, failures: 2 }]);
    machine.send({ type: 'wake' });
    expect(machine.kinds).toEqual(['load']);
    expect(machine.loaded(1).state).toMatchObject({ error: null, failures: 0 });
  });

  test('that are permanent deny the chat until the next connection', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: true }).loaded(1).failed(forbidden);
    expect(machine.state.activity).toEqual({ kind: 'denied', error: forbidden });
    expect(machine.send({ type: 'wake' }).kinds).toEqual([]);
    expect(machine.send({ type: 'closed' }, { type: 'opened' }).kinds).toEqual(['join']);
  });

  test('of a load are followed by another load after a denial', () => {
    const machine = new Machine().send({ type: 'start', shown: true }).failed(new ProblemError(403, {}));
    expect(machine.send({ type: 'opened' }).kinds).toEqual(['load']);
  });
});

test('another user starts without a cursor', () => {
  const machine = live(5).send({ type: 'closed' }, { type: 'restart' });
  expect(machine.kinds).toEqual(['load']);
  expect(machine.state.cursor).toBeNull();
});
