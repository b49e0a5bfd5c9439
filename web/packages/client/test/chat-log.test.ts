import { expect, test } from 'vitest';

import { type ChatLog, EMPTY_LOG, reduce, shownEntries, toEntry } from '../src/chat/chat-log.ts';
import type { SequencedEvent } from '../src/feed/feed-machine.ts';
import type { Message } from '../src/generated/contract.ts';

function message(change: Partial<Message> = {}): Message {
  return {
    id: 'm1',
    role: 'USER',
    content: 'hello',
    time: '2026-01-02T03:04:05.678Z',
    chatId: 'c',
    epoch: 'e',
    seq: 1,
    place: 1,
    version: 1,
    userId: 'ann',
    clientMsgId: null,
    status: 'sent',
    turn: null,
    parts: null,
    ...change,
  };
}

let seq = 1;

function event(name: string, data: object): SequencedEvent {
  seq += 1;
  return { seq, epoch: 'e', event: name, data: { place: 1, messageId: 'm1', userId: 'ann', ...data } };
}

function loaded(change: Partial<Message> = {}): ChatLog {
  const page = { epoch: 'e', seq: 1, messages: [message(change)], hasMore: false };
  return reduce(EMPTY_LOG, { type: 'replaced', page, reset: false });
}

function after(log: ChatLog, ...events: SequencedEvent[]) {
  return reduce(log, { type: 'delivered', events }).confirmed[0];
}

test('reactions are added and taken back in the order of their events', () => {
  const like = (userId: string, added = true) => event('reaction', { emoji: '👍', userId, added });
  expect(after(loaded(), like('ann'), like('bob'), like('ann'))?.reactions).toEqual([
    { emoji: '👍', userIds: ['bob', 'ann'] },
  ]);
  expect(after(loaded(), like('ann'), like('bob'), like('bob', false))?.reactions).toEqual([
    { emoji: '👍', userIds: ['ann'] },
  ]);
  expect(after(loaded(), like('ann'), like('ann', false), like('eve', false))?.reactions).toEqual([]);
});

test('a new version of a message keeps its reactions and its pin', () => {
  const reactions = [{ emoji: '👍', userIds: ['bob'] }];
  const edited = message({ id: 'm2', version: 2, seq: 9, content: 'changed' });
  const entry = after(loaded({ reactions, pinned: true }), event('new-msg', { ...edited }));
  expect([entry?.content, entry?.reactions, entry?.pinned]).toEqual(['changed', reactions, true]);
});

test('a deleted message has neither text nor marks', () => {
  const entry = after(loaded({ pinned: true }), event('msg-deleted', {}));
  expect([entry?.content, entry?.deleted, entry?.pinned]).toEqual(['', true, false]);
});

test('erased messages have no text, whichever of them are loaded', () => {
  const entry = after(loaded({ pinned: true }), event('msgs-erased', { places: [1, 5] }));
  expect([entry?.content, entry?.deleted, entry?.pinned]).toEqual(['', true, false]);
});

test('messages that have expired are gone, and later ones stay', () => {
  expect(after(loaded(), event('msgs-expired', { through: 1 }))).toBeUndefined();
  expect(after(loaded({ place: 2 }), event('msgs-expired', { through: 1 }))?.place).toBe(2);
});

test('a pin is set and removed; an event of a place that is not loaded changes nothing', () => {
  expect(after(loaded(), event('pin', { pinned: true }))?.pinned).toBe(true);
  expect(after(loaded({ pinned: true }), event('pin', { pinned: false }))?.pinned).toBe(false);
  expect(after(loaded(), event('pin', { place: 5, pinned: true }))?.pinned).toBe(false);
});

test('an event that this version does not know changes nothing', () => {
  const log = loaded();
  for (const name of ['sticker', 'toString', '__proto__']) expect(after(log, event(name, {}))).toBe(log.confirmed[0]);
});

test('a page that is loaded again has the current marks', () => {
  const page = { epoch: 'e', seq: 5, messages: [message({ pinned: true })], hasMore: false };
  const log = reduce(loaded(), { type: 'replaced', page, reset: false });
  expect(log.confirmed[0]?.pinned).toBe(true);
  expect(reduce(log, { type: 'replaced', page, reset: false }).confirmed[0]).toBe(log.confirmed[0]);
});

function publish(log: ChatLog, id: string, content = id): ChatLog {
  const entry = {
    ...toEntry(message({ id, content })),
    key: `l:${id}`,
    seq: null,
    place: null,
    status: 'live' as const,
  };
  return reduce(log, { type: 'published', entry });
}

function shown(log: ChatLog): string[] {
  return shownEntries(log).map(({ content }) => content);
}

function deliver(log: ChatLog, ...messages: Partial<Message>[]): ChatLog {
  return reduce(log, { type: 'delivered', events: messages.map((change) => event('new-msg', message(change))) });
}

test('a message that is not stored stays between those that were there before and after it', () => {
  let log = publish(publish(loaded(), 'live 1'), 'live 2');
  log = deliver(log, { id: 'm2', place: 2, content: 'two' });
  log = publish(log, 'live 3');
  expect(shown(deliver(log, { id: 'm3', place: 3, content: 'three' }))).toEqual([
    'hello',
    'live 1',
    'live 2',
    'two',
    'live 3',
    'three',
  ]);
});

test('a stored message replaces a live one with its id, and not the reverse', () => {
  const log = deliver(publish(loaded(), 'm2', 'draft'), { id: 'm2', place: 2, content: 'stored' });
  expect(shown(log)).toEqual(['hello', 'stored']);
  expect(shown(publish(log, 'm2', 'again'))).toEqual(['hello', 'stored']);
});

test('a live message that is published again changes in its place', () => {
  const log = publish(publish(loaded(), 'a', 'half'), 'b');
  expect(shown(publish(log, 'a', 'whole'))).toEqual(['hello', 'whole', 'b']);
});

test('live messages that arrive before the first page come behind it, and a page that has them replaces them', () => {
  const page = { epoch: 'e', seq: 2, messages: [message(), message({ id: 'm2', place: 2 })], hasMore: false };
  const log = publish(publish(EMPTY_LOG, 'm2', 'early'), 'live');
  expect(shown(reduce(log, { type: 'replaced', page, reset: false }))).toEqual(['hello', 'hello', 'live']);
});

test('live messages before the loaded part of a long chat are not shown, and the oldest are dropped', () => {
  let log = publish(EMPTY_LOG, 'early');
  const page = { epoch: 'e', seq: 9, messages: [message({ place: 9 })], hasMore: true };
  log = reduce({ ...log, loaded: true }, { type: 'replaced', page, reset: false });
  expect(shown(log)).toEqual(['hello']);
  for (let number = 0; number < 150; number++) log = publish(log, `live ${number}`);
  expect(shown(log)).toHaveLength(101);
  expect(shown(log).at(-1)).toBe('live 149');
});
