import { expect, test } from 'vitest';

import { begunMention, complete, suggestionsFor } from '../../src/conversation/composer/mentions.ts';

test.each([
  ['@', { start: 0, text: '' }],
  ['hi @bo', { start: 3, text: 'bo' }],
  ['你好@小', { start: 2, text: '小' }],
  ['你好＠小', { start: 2, text: '小' }],
  ['mail@example', null],
  ['x_@a', null],
  ['/@a', null],
  ['@bob done', null],
])('in %s the mention at the end is %o', (text, begun) => {
  expect(begunMention(text, text.length)).toEqual(begun);
});

test('a mention is completed at the caret, followed by one space', () => {
  const text = 'hi @bo there';
  const mention = begunMention(text, 6);
  expect(mention).not.toBeNull();
  expect(mention && complete(text, 6, mention, 'bob')).toEqual(['hi @bob there', 8]);
});

test('suggestions begin with what was typed, in any case', () => {
  expect(suggestionsFor(['ai', 'Bob', 'bea', 'zoe'], 'B')).toEqual(['Bob', 'bea']);
});
