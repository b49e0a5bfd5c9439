import { afterEach, expect, test, vi } from 'vitest';

import { isUnread, parseMarks, ReadMarks, withBaseline, withRead } from '../../src/chats/readMarks.ts';

const chat = (id: string, lastSeq: number, activeAt = 1_000) => ({ id, lastSeq, lastActivityAt: new Date(activeAt) });
const NONE = parseMarks(null);

afterEach(() => localStorage.clear());

test('chats count as read if they were last active before the first visit', () => {
  const marks = withBaseline(NONE, [chat('old', 5, 1_000), chat('older', 3, 500)]);
  expect(isUnread(marks, chat('old', 5, 1_000))).toBe(false);
  expect(isUnread(marks, chat('further-down', 9, 400))).toBe(false);
});

test('a chat created later is unread once it has an event', () => {
  const marks = withBaseline(NONE, [chat('old', 5, 1_000)]);
  expect(isUnread(marks, chat('new', 1, 2_000))).toBe(true);
  expect(isUnread(marks, chat('empty', 0, 2_000))).toBe(false);
});

test('the baseline is set once', () => {
  const marks = withBaseline(NONE, [chat('old', 5, 1_000)]);
  expect(withBaseline(marks, [chat('old', 6, 9_000)])).toBe(marks);
});

test('a chat is unread beyond its mark, and after a reset of its history', () => {
  const marks = withRead(withBaseline(NONE, []), 'a', 5);
  expect(isUnread(marks, chat('a', 5))).toBe(false);
  expect(isUnread(marks, chat('a', 6))).toBe(true);
  expect(isUnread(marks, chat('a', 2))).toBe(true);
});

test('the number of marks is bounded; the least recently updated ones are dropped', () => {
  let marks = NONE;
  for (let index = 0; index < 600; index += 1) marks = withRead(marks, `chat-${index}`, 1);
  expect(Object.keys(marks.seqs)).toHaveLength(500);
  expect(marks.seqs['chat-99']).toBeUndefined();
  expect(marks.seqs['chat-599']).toBe(1);
});

test.each(['', '{', '[]', 'null', '{"seqs":{"a":"x"},"since":"y"}'])(
  'the invalid stored value %j is ignored',
  (text) => {
    expect(parseMarks(text)).toEqual({ since: null, seqs: {} });
  },
);

test('marks are stored per user, and two tabs of a user do not overwrite each other', () => {
  const first = new ReadMarks('ann');
  const second = new ReadMarks('ann');
  const listener = vi.fn();
  first.subscribe(listener);
  first.read('a', 1);
  first.read('a', 1);
  expect(listener).toHaveBeenCalledTimes(1);
  second.read('b', 2);
  expect(new ReadMarks('ann').get().seqs).toEqual({ a: 1, b: 2 });
  expect(new ReadMarks('bob').get().seqs).toEqual({});
});
