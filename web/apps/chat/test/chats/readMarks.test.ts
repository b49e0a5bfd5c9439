import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';

import {
  isUnread,
  NO_MARKS,
  parseMarks,
  ReadMarks,
  stringifyMarks,
  withBaseline,
  withRead,
} from '../../src/chats/readMarks.ts';

const ME = 'ann';
const chat = (
  id: string,
  seq: number,
  { at = 1_000, by = 'bob', epoch = 'e1' }: { at?: number; by?: string | null; epoch?: string } = {},
) => ({
  id,
  lastMessage: seq === 0 ? null : { epoch, seq, userId: by, time: new Date(at) },
});
const at = (seq: number, epoch = 'e1') => ({ epoch, seq });
const FIRST_VISIT = withBaseline(NO_MARKS, []);

afterEach(() => localStorage.clear());

test('chats count as read if their last message is older than the first visit', () => {
  const marks = withBaseline(NO_MARKS, [chat('old', 5, { at: 1_000 }), chat('older', 3, { at: 500 }), chat('none', 0)]);
  expect(isUnread(marks, chat('old', 5, { at: 1_000 }), ME)).toBe(false);
  expect(isUnread(marks, chat('further-down', 9, { at: 400 }), ME)).toBe(false);
  expect(isUnread(marks, chat('new', 1, { at: 2_000 }), ME)).toBe(true);
});

test('the baseline is set once', () => {
  const marks = withBaseline(NO_MARKS, [chat('old', 5, { at: 1_000 })]);
  expect(withBaseline(marks, [chat('old', 6, { at: 9_000 })])).toBe(marks);
});

test('only a message of another user or of an AI makes a chat unread', () => {
  const marks = withRead(FIRST_VISIT, 'a', at(5));
  expect(isUnread(marks, chat('a', 6, { by: 'bob' }), ME)).toBe(true);
  expect(isUnread(marks, chat('a', 6, { by: null }), ME)).toBe(true);
  expect(isUnread(marks, chat('a', 6, { by: ME }), ME)).toBe(false);
  // A chat to which members were added, and nothing else.
  expect(isUnread(FIRST_VISIT, chat('new', 0), ME)).toBe(false);
});

test('a chat is unread beyond its mark, and in a new epoch', () => {
  const marks = withRead(FIRST_VISIT, 'a', at(5));
  expect(isUnread(marks, chat('a', 5), ME)).toBe(false);
  expect(isUnread(marks, chat('a', 6), ME)).toBe(true);
  // Another tab has already read a message that this tab does not know yet; or a restored database lacks it.
  expect(isUnread(marks, chat('a', 4), ME)).toBe(false);
  expect(isUnread(marks, chat('a', 3, { epoch: 'e2' }), ME)).toBe(true);
});

test('a mark never moves back within an epoch', () => {
  const marks = withRead(FIRST_VISIT, 'a', at(5));
  expect(withRead(marks, 'a', at(4))).toBe(marks);
  expect(withRead(marks, 'a', at(1, 'e2')).read.get('a')).toEqual(at(1, 'e2'));
});

test('reading a chat leaves each other mark, whatever the ids', () => {
  const id = fc.oneof(
    fc.constantFrom('__proto__', 'constructor', 'toString', 'length', 'hasOwnProperty', '-1', '01'),
    fc.nat({ max: 600 }).map(String),
  );
  fc.assert(
    fc.property(fc.uniqueArray(id, { minLength: 1, maxLength: 30 }), (ids) => {
      let marks = FIRST_VISIT;
      for (const chatId of ids) marks = withRead(marks, chatId, at(7));
      const restored = parseMarks(stringifyMarks(marks));
      expect(restored).toEqual(marks);
      for (const chatId of ids) expect(isUnread(restored, chat(chatId, 7), ME)).toBe(false);
      expect(isUnread(restored, chat('valueOf', 7), ME)).toBe(true);
    }),
  );
});

test('the number of marks is bounded; the least recently updated ones are dropped', () => {
  let marks = NO_MARKS;
  for (let index = 600; index > 0; index -= 1) marks = withRead(marks, String(index), at(1));
  marks = withRead(parseMarks(stringifyMarks(marks)), '8', at(1));
  expect(marks.read.size).toBe(500);
  expect(marks.read.has('501')).toBe(false);
  expect(['500', '8', '7', '1'].every((id) => marks.read.has(id))).toBe(true);
});

test.each([
  '',
  '{',
  '[]',
  'null',
  '{"since":"y","read":{}}',
  '{"since":1,"read":[["a","e1","x"]]}',
  '{"since":1,"seqs":{"a":1}}',
])('the invalid stored value %j is ignored', (text) => {
  expect(parseMarks(text)).toEqual(NO_MARKS);
});

test('marks are stored per user, and two tabs of a user do not overwrite each other', () => {
  const first = new ReadMarks('ann');
  const second = new ReadMarks('ann');
  const listener = vi.fn();
  first.subscribe(listener);
  first.read(chat('a', 1));
  first.read(chat('a', 1));
  expect(listener).toHaveBeenCalledTimes(1);
  second.read(chat('b', 2));
  expect([...new ReadMarks('ann').get().read.keys()]).toEqual(['a', 'b']);
  expect(new ReadMarks('bob').get().read.size).toBe(0);
});

test('a chat that is read in one tab is read in the other tabs of the user', () => {
  const [first, second] = [new ReadMarks('a/b'), new ReadMarks('a/b')];
  const listener = vi.fn();
  const stop = second.subscribe(listener);
  first.read(chat('c', 3));
  // The browser sends this event to the other tabs.
  const key = localStorage.key(0);
  window.dispatchEvent(new StorageEvent('storage', { key }));
  expect(listener).toHaveBeenCalledTimes(1);
  expect(isUnread(second.get(), chat('c', 3), ME)).toBe(false);
  window.dispatchEvent(new StorageEvent('storage', { key: `x${String(key)}` }));
  expect(listener).toHaveBeenCalledTimes(1);
  stop();
});
