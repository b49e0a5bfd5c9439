import { describe, expect, test } from 'vitest';

import { groupByDay, messagesAfter, sameGroup } from '../../src/conversation/messages/timeline.ts';
import { entry } from './entry.ts';

const at = (minute: number, day = 23) => new Date(2026, 10, day, 12, minute);
const shape = (days: ReturnType<typeof groupByDay>) =>
  days.map((day) => day.groups.map((group) => group.messages.map((message) => message.key).join('+')));

describe('groupByDay', () => {
  test('an empty conversation has no days', () => {
    expect(groupByDay([], 'ann')).toEqual([]);
  });

  test('consecutive messages of one author are one group', () => {
    const messages = [entry({ key: 'a', time: at(0) }), entry({ key: 'b', time: at(4) })];
    expect(shape(groupByDay(messages, 'ann'))).toEqual([['a+b']]);
  });

  test('a pause of five minutes after the previous message starts a new group', () => {
    const messages = [0, 4, 8, 13].map((minute) => entry({ key: `m${minute}`, time: at(minute) }));
    expect(shape(groupByDay(messages, 'ann'))).toEqual([['m0+m4+m8', 'm13']]);
  });

  test('another author, and the AI with the same user id, start a new group', () => {
    const messages = [
      entry({ key: 'a' }),
      entry({ key: 'b', userId: 'bob' }),
      entry({ key: 'c', userId: 'bob', role: 'AI' }),
      entry({ key: 'd', userId: 'bob' }),
    ];
    expect(shape(groupByDay(messages, 'ann'))).toEqual([['a', 'b', 'c', 'd']]);
  });

  test('a new day starts a new group of the same author', () => {
    const messages = [
      entry({ key: 'a', time: new Date(2026, 10, 22, 23, 59) }),
      entry({ key: 'b', time: new Date(2026, 10, 23, 0, 1) }),
    ];
    expect(shape(groupByDay(messages, 'ann'))).toEqual([['a'], ['b']]);
  });

  test('the order is kept if times are not ascending, and keys are unique', () => {
    const messages = [
      entry({ key: 'a', time: at(0, 23) }),
      entry({ key: 'b', time: at(0, 22) }),
      entry({ key: 'c', time: at(0, 23) }),
    ];
    const days = groupByDay(messages, 'ann');
    expect(shape(days)).toEqual([['a'], ['b'], ['c']]);
    expect(new Set(days.map((day) => day.key)).size).toBe(3);
  });

  test('history loaded above a long run of one author does not change the existing groups', () => {
    const messages = Array.from({ length: 150 }, (_, index) => entry({ key: `m${index + 1}`, seq: index + 1 }));
    const keys = (from: number) => groupByDay(messages.slice(from), 'ann')[0]?.groups.map((group) => group.key) ?? [];
    // Except the first, which a page boundary may have split.
    expect(keys(0)).toEqual(expect.arrayContaining(keys(50).slice(1)));
    expect(keys(50).length).toBeGreaterThan(4);
  });

  test('a day keeps its key while history is loaded above it', () => {
    const messages = [
      entry({ key: 'a', time: at(0) }),
      entry({ key: 'b', time: at(1) }),
      entry({ key: 'c', time: at(2) }),
    ];
    expect(groupByDay(messages.slice(1), 'ann')[0]?.key).toBe(groupByDay(messages, 'ann')[0]?.key);
  });

  test('only messages with the own user id and the role USER are own messages', () => {
    const messages = [entry({ key: 'a' }), entry({ key: 'b', role: 'AI' }), entry({ key: 'c', userId: null })];
    expect(groupByDay(messages, 'ann').flatMap((day) => day.groups.map((group) => group.mine))).toEqual([
      true,
      false,
      false,
    ]);
  });
});

test('groups are the same only if they hold the same entries', () => {
  const messages = [entry({ key: 'a' }), entry({ key: 'b' })];
  const [before] = groupByDay(messages, 'ann')[0]?.groups ?? [];
  const [unchanged] = groupByDay([...messages], 'ann')[0]?.groups ?? [];
  const [changed] = groupByDay([entry({ key: 'a' }), ...messages.slice(1)], 'ann')[0]?.groups ?? [];
  if (!before || !unchanged || !changed) throw new Error('no groups');
  expect(sameGroup(before, unchanged)).toBe(true);
  expect(sameGroup(before, changed)).toBe(false);
});

test('messagesAfter returns all messages for null, and none for an unknown key', () => {
  const messages = [entry({ key: 'a' }), entry({ key: 'b' }), entry({ key: 'c' })];
  expect(messagesAfter(messages, 'a').map(({ key }) => key)).toEqual(['b', 'c']);
  expect(messagesAfter(messages, null)).toEqual(messages);
  expect(messagesAfter(messages, 'unknown')).toEqual([]);
});
