import { describe, expect, test } from 'vitest';
import { AckTimeoutError, NetworkError, ProblemError, RefusedError } from '../src/errors.ts';
import {
  type FeedEffect,
  type FeedInput,
  type FeedState,
  INITIAL_FEED,
  isSynced,
  type SequencedEvent,
  step,
} from '../src/feed-machine.ts';
import type { EventPage, JoinChatAck, MessagePage } from '../src/generated/contract.ts';

const EPOCH = 'e1';

class Machine {
  state: FeedState = INITIAL_FEED;
  effects: FeedEffect[] = [];

  send(...inputs: FeedInput[]): this {
    this.effects = [];
    for (const input of inputs) {
      const [state, effects] = step(this.state, input);
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

/** A shown chat, live, with everything up to `seq`. */
function live(seq: number): Machine {
  return new Machine().send({ type: 'opened' }, { type: 'start', shown: true }).loaded(seq).joined(seq);
}

const away = new NetworkError('away');
const forbidden = new RefusedError({ code: 'forbidden' });

describe('the order of joining', () => {
  test('is snapshot, join with its cursor, live', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: true });
    expect(machine.kinds).toEqual(['load']);
    machine.loaded(7);
    expect(machine.effects).toEqual([
      expect.objectContaining({ type: 'replace', reset: false }),
      { type: 'join', op: machine.op, since: { epoch: EPOCH, seq: 7 } },
    ]);
    expect(isSynced(machine.state)).toBe(false);
    expect(isSynced(machine.joined(7).state)).toBe(true);
  });

  test('shows the snapshot without a connection and joins when there is one', () => {
    const machine = new Machine().send({ type: 'start', shown: true }).loaded(3);
    expect(machine.kinds).toEqual(['replace']);
    expect(machine.send({ type: 'opened' }).kinds).toEqual(['join']);
  });

  test('is a bare join for a chat that nobody shows', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false });
    expect(machine.effects).toEqual([{ type: 'join', op: machine.op, since: null }]);
    machine.joined(4);
    expect(machine.live(5).delivered).toEqual([5]);
  });

  test('events that came before the snapshot and the ack are merged after them, once', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: true });
    expect(machine.live(3, 4).delivered).toEqual([]);
    expect(machine.loaded(3).delivered).toEqual([4]);
    expect(machine.live(6, 5, 5, 4).delivered).toEqual([]);
    expect(machine.joined(6).delivered).toEqual([5, 6]);
    expect(isSynced(machine.state)).toBe(true);
  });

  test('a chat that becomes shown loads, and keeps its place in the room', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false }).joined(4);
    expect(machine.send({ type: 'start', shown: true }).kinds).toEqual(['load']);
    expect(machine.live(5).delivered).toEqual([]);
    expect(machine.loaded(4).delivered).toEqual([5]);
    expect(isSynced(machine.state)).toBe(true);
  });

  test('a second view asks for nothing, neither while the chat loads nor after', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: true });
    expect(machine.send({ type: 'start', shown: true }).kinds).toEqual([]);
    machine.loaded(3);
    expect(machine.send({ type: 'start', shown: true }).kinds).toEqual([]);
    machine.joined(3);
    expect(machine.send({ type: 'start', shown: true }, { type: 'start', shown: false }).kinds).toEqual([]);
  });

  test('a snapshot older than what was delivered is completed', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false }).joined(4).live(5);
    machine.send({ type: 'start', shown: true }).loaded(3);
    expect(machine.effects.at(-1)).toMatchObject({ type: 'backfill', after: { seq: 3 } });
  });
});

describe('live events', () => {
  test('repeats are dropped', () => {
    expect(live(5).live(5, 4, 6, 6).delivered).toEqual([6]);
  });

  test('a jump starts a backfill, and what came meanwhile follows it', () => {
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

  test('too many to hold are fetched instead', () => {
    const machine = live(0).live(2);
    machine.live(...Array.from({ length: 1_500 }, (_, index) => index + 3));
    expect(machine.state.buffer).toHaveLength(1_000);
    machine.paged([1]);
    expect(machine.delivered).toHaveLength(1_001);
    expect(machine.effects.at(-1)).toMatchObject({ type: 'backfill', after: { seq: 1_001 } });
  });

  test('that were held when the connection broke are fetched from the next one, not kept', () => {
    const machine = live(5).live(7).send({ type: 'closed' }, { type: 'opened' });
    machine.failed(new NetworkError('away')).send({ type: 'wake' });
    expect(machine.effects.at(-1)).toMatchObject({ type: 'join', since: { epoch: EPOCH, seq: 5 } });
    machine.joined(6);
    expect(machine.delivered).toEqual([]);
    expect(machine.effects.at(-1)).toMatchObject({ type: 'backfill', after: { seq: 5 } });
    // The history ends before 7 by now: what was held of the former one is not shown behind it.
    expect(machine.paged([6]).delivered).toEqual([6]);
  });

  test('that were held by a chat whose join was not answered say where it begins', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false }).live(8, 9);
    machine.send({ type: 'closed' }, { type: 'opened' });
    expect(machine.effects).toEqual([{ type: 'backfill', op: machine.op, after: { epoch: EPOCH, seq: 7 } }]);
    machine.paged([8, 9]);
    expect(machine.delivered).toEqual([8, 9]);
    expect(machine.effects.at(-1)).toMatchObject({ type: 'join', since: { epoch: EPOCH, seq: 9 } });
  });

  test('are ignored by a chat that was stopped', () => {
    const machine = live(5).send({ type: 'stop' });
    expect(machine.kinds).toEqual(['leave']);
    expect(machine.live(6).effects).toEqual([]);
    expect(machine.send({ type: 'start', shown: true }).effects).toEqual([
      { type: 'join', op: machine.op, since: { epoch: EPOCH, seq: 5 } },
    ]);
  });
});

describe('an ack', () => {
  test('that did not recover starts a backfill', () => {
    const machine = live(5).send({ type: 'closed' }, { type: 'opened' });
    expect(machine.joined(9, { recovered: false }).kinds).toEqual(['backfill']);
  });

  test('that claims more than came starts a backfill, whatever it says', () => {
    const machine = live(5).send({ type: 'closed' }, { type: 'opened' }).live(6);
    machine.joined(9, { recovered: true });
    expect(machine.delivered).toEqual([6]);
    expect(machine.effects.at(-1)).toMatchObject({ type: 'backfill', after: { seq: 6 } });
  });

  test('of another history forgets everything and loads again', () => {
    const machine = live(5).send({ type: 'closed' }, { type: 'opened' });
    machine.joined(2, { recovered: false, reset: true, epoch: 'e9' });
    expect(machine.kinds).toEqual(['load']);
    machine.live(3);
    machine.loaded(2, 'e9');
    expect(machine.effects[0]).toMatchObject({ type: 'replace', reset: true });
    expect(machine.delivered).toEqual([3]);
    expect(isSynced(machine.state)).toBe(true);
  });

  test('of another history moves the cursor of a chat that nobody shows', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false }).joined(5);
    machine.send({ type: 'closed' }, { type: 'opened' }).joined(2, { recovered: false, reset: true, epoch: 'e9' });
    expect(machine.state.cursor).toEqual({ epoch: 'e9', seq: 2 });
  });

  test('with nothing missing renews the epoch of the cursor', () => {
    const machine = live(5).send({ type: 'closed' }, { type: 'opened' }).joined(5, { epoch: 'e2' });
    expect(machine.state.cursor).toEqual({ epoch: 'e2', seq: 5 });
  });

  test('that comes late, after the connection broke, is ignored', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false });
    const late = machine.op;
    machine.send({ type: 'closed' }, { type: 'opened' });
    const ack: JoinChatAck = { ok: true, chatId: 'c', epoch: EPOCH, seq: 9, recovered: true };
    expect(machine.send({ type: 'joined', op: late, ack }).state.joined).toBe(false);
  });

  test('that never comes from a server without acks counts, for the guide’s joins', () => {
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

  test('fetches what is beyond the cursor, and nothing else', () => {
    expect(live(5).send(resync(5, false)).kinds).toEqual([]);
    expect(live(5).send(resync(6, false)).kinds).toEqual(['backfill']);
  });

  test('with reset loads again, even when a snapshot of the old history is on its way', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: true });
    machine.send(resync(2, true));
    expect(machine.kinds).toEqual([]);
    machine.loaded(9, 'old');
    expect(machine.kinds).toEqual(['replace', 'load']);
    machine.loaded(2, 'new');
    expect(machine.effects[0]).toMatchObject({ type: 'replace', reset: true });
    expect(machine.state.cursor).toEqual({ epoch: 'new', seq: 2 });
  });
});

describe('backfill', () => {
  test('goes page by page', () => {
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

  test('that is too long starts again from the newest page', () => {
    const machine = live(1).send({ type: 'behind', seq: 5_000 });
    expect(machine.kinds).toEqual(['load']);
    machine.loaded(5_000);
    expect(machine.effects[0]).toMatchObject({ type: 'replace', reset: false });
    expect(isSynced(machine.state)).toBe(true);
  });

  test('that brings nothing waits, and gives up by loading again', () => {
    const machine = live(1).send({ type: 'behind', seq: 3 });
    for (const expected of [['wait'], ['wait'], ['load']]) {
      expect(machine.paged([]).kinds).toEqual(expected);
      if (expected[0] === 'wait') expect(machine.send({ type: 'waited', op: machine.op }).kinds).toEqual(['backfill']);
    }
    machine.loaded(1);
    expect(isSynced(machine.state)).toBe(true);
  });

  test('that is refused to a chat that nobody shows is said and skipped', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: false }).joined(1).live(4);
    machine.failed(new ProblemError(404, {}));
    expect(machine.kinds).toEqual(['skipped', 'deliver']);
    expect(machine.delivered).toEqual([4]);
    expect(isSynced(machine.state)).toBe(true);
  });

  test('takes no page that was asked for before the chat was left', () => {
    const machine = live(0).live(2);
    const late = machine.op;
    machine.send({ type: 'stop' }, { type: 'start', shown: true });
    const page: EventPage = { epoch: EPOCH, events: [], seq: 2, more: false, reset: true };
    expect(machine.send({ type: 'paged', op: late, page }).kinds).toEqual([]);
  });
});

describe('failures', () => {
  test('that pass are tried again, longer and longer apart, and shown meanwhile', () => {
    const machine = new Machine().send({ type: 'start', shown: true });
    expect(machine.failed(away).effects).toEqual([{ type: 'wait', op: machine.op, failures: 1 }]);
    expect(machine.state.error).toBe(away);
    machine.send({ type: 'waited', op: machine.op });
    expect(machine.kinds).toEqual(['load']);
    expect(machine.failed(away).effects).toEqual([{ type: 'wait', op: machine.op, failures: 2 }]);
    machine.send({ type: 'wake' });
    expect(machine.kinds).toEqual(['load']);
    expect(machine.loaded(1).state).toMatchObject({ error: null, failures: 0 });
  });

  test('that do not pass end in a refusal, until the next connection', () => {
    const machine = new Machine().send({ type: 'opened' }, { type: 'start', shown: true }).loaded(1).failed(forbidden);
    expect(machine.state.activity).toEqual({ kind: 'denied', error: forbidden });
    expect(machine.send({ type: 'wake' }).kinds).toEqual([]);
    expect(machine.send({ type: 'closed' }, { type: 'opened' }).kinds).toEqual(['join']);
  });

  test('of a load are loaded again after a refusal', () => {
    const machine = new Machine().send({ type: 'start', shown: true }).failed(new ProblemError(403, {}));
    expect(machine.send({ type: 'opened' }).kinds).toEqual(['load']);
  });
});

test('another user starts from nothing', () => {
  const machine = live(5).send({ type: 'closed' }, { type: 'restart' });
  expect(machine.kinds).toEqual(['load']);
  expect(machine.state.cursor).toBeNull();
});
