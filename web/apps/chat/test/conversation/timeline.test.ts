import { describe, expect, test } from 'vitest';

import { after, arrange, sameGroup } from '../../src/conversation/timeline.ts';
import { entry } from './entry.ts';

const at = (minute: number, day = 23) => new Date(2026, 10, day, 12, minute);
const shape = (days: ReturnType<typeof arrange>) =>
  days.map((day) => day.groups.map((group) => group.messages.map((message) => message.key).join('+')));

describe('arrange', () => {
  test('an empty conversation has no days', () => {
    expect(arrange([], 'ann')).toEqual([]);
  });

  test('messages of one author that follow closely are one group', () => {
    const messages = [entry({ key: 'a', time: at(0) }), entry({ key: 'b', time: at(4) })];
    expect(shape(arrange(messages, 'ann'))).toEqual([['a+b']]);
  });

  test('a pause of five minutes begins a new group, measured from the message before', () => {
    const messages = [0, 4, 8, 13].map((minute) => entry({ key: `m${minute}`, time: at(minute) }));
    expect(shape(arrange(messages, 'ann'))).toEqual([['m0+m4+m8', 'm13']]);
  });

  test('another author, and the AI under the same id, begin a new group', () => {
    const messages = [
      entry({ key: 'a' }),
      entry({ key: 'b', userId: 'bob' }),
      entry({ key: 'c', userId: 'bob', role: 'AI' }),
      entry({ key: 'd', userId: 'bob' }),
    ];
    expect(shape(arrange(messages, 'ann'))).toEqual([['a', 'b', 'c', 'd']]);
  });

  test('a new day begins a new group of the same author', () => {
    const messages = [
      entry({ key: 'a', time: new Date(2026, 10, 22, 23, 59) }),
      entry({ key: 'b', time: new Date(2026, 10, 23, 0, 1) }),
    ];
    expect(shape(arrange(messages, 'ann'))).toEqual([['a'], ['b']]);
  });

  test('the order stands even where clocks disagree, and no key is used twice', () => {
    const messages = [
      entry({ key: 'a', time: at(0, 23) }),
      entry({ key: 'b', time: at(0, 22) }),
      entry({ key: 'c', time: at(0, 23) }),
    ];
    const days = arrange(messages, 'ann');
    expect(shape(days)).toEqual([['a'], ['b'], ['c']]);
    expect(new Set(days.map((day) => day.key)).size).toBe(3);
  });

  test('history above a long run of one author leaves the groups that were there as they are', () => {
    const messages = Array.from({ length: 150 }, (_, index) => entry({ key: `m${index + 1}`, seq: index + 1 }));
    const keys = (from: number) => arrange(messages.slice(from), 'ann')[0]?.groups.map((group) => group.key) ?? [];
    // All but the first, which a page of history may have cut.
    expect(keys(0)).toEqual(expect.arrayContaining(keys(50).slice(1)));
    expect(keys(50).length).toBeGreaterThan(4);
  });

  test('a day keeps its key while history comes and goes above', () => {
    const messages = [
      entry({ key: 'a', time: at(0) }),
      entry({ key: 'b', time: at(1) }),
      entry({ key: 'c', time: at(2) }),
    ];
    expect(arrange(messages.slice(1), 'ann')[0]?.key).toBe(arrange(messages, 'ann')[0]?.key);
  });

  test('only what the reader wrote as a person is theirs', () => {
    const messages = [entry({ key: 'a' }), entry({ key: 'b', role: 'AI' }), entry({ key: 'c', userId: null })];
    expect(arrange(messages, 'ann').flatMap((day) => day.groups.map((group) => group.mine))).toEqual([
      true,
      false,
      false,
    ]);
  });
});

test('a group is the same only if it shows the same entries', () => {
  const messages = [entry({ key: 'a' }), entry({ key: 'b' })];
  const [before] = arrange(messages, 'ann')[0]?.groups ?? [];
  const [unchanged] = arrange([...messages], 'ann')[0]?.groups ?? [];
  const [changed] = arrange([entry({ key: 'a' }), ...messages.slice(1)], 'ann')[0]?.groups ?? [];
  if (!before || !unchanged || !changed) throw new Error('no groups');
  expect(sameGroup(before, unchanged)).toBe(true);
  expect(sameGroup(before, changed)).toBe(false);
});

test('what comes after a key is all for none, and nothing once the key is gone', () => {
  const messages = [entry({ key: 'a' }), entry({ key: 'b' }), entry({ key: 'c' })];
  expect(after(messages, 'a').map(({ key }) => key)).toEqual(['b', 'c']);
  expect(after(messages, null)).toEqual(messages);
  expect(after(messages, 'gone')).toEqual([]);
});
