/** Which users have read up to which message. */
import { expect, test } from 'vitest';

import { receiptsOf } from '../../src/conversation/messages/receipts.ts';
import { entry } from './entry.ts';

const at = (place: number, userId: string) => entry({ key: `m${place}`, place, userId });

test('a receipt is at the last message of another user that was seen', () => {
  const messages = [at(2, 'ann'), at(4, 'bob'), at(7, 'ann')];
  const reads = new Map([
    ['dan', 1],
    ['cid', 6],
    ['bob', 4],
    ['ann', 9],
    ['eve', 7],
  ]);
  const receipts = receiptsOf(messages, reads, 'ann');
  expect([...receipts.at]).toEqual([
    ['m2', ['bob']],
    ['m4', ['cid']],
    ['m7', ['eve']],
  ]);
  expect(messages.map(receipts.readersOf)).toEqual([['bob', 'cid', 'eve'], ['cid', 'eve'], ['eve']]);
});

test('messages that are not stored have no receipt', () => {
  const receipts = receiptsOf([{ ...at(2, 'ann'), place: null }], new Map([['bob', 9]]), 'ann');
  expect(receipts.at.size).toBe(0);
});
