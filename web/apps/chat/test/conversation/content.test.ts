import { expect, test } from 'vitest';

import { excess, MAX_CONTENT, toContent } from '../../src/conversation/content.ts';

test('what is sent has no blank edges, no U+0000 and no half of a pair', () => {
  expect(toContent('  a\n b\0 \n')).toBe('a\n b');
  expect(toContent('x\ud800y')).toBe('x\ufffdy');
  expect(toContent('😀')).toBe('😀');
});

test('length counts code points, as the server does', () => {
  expect(excess('a'.repeat(MAX_CONTENT))).toBe(0);
  expect(excess('a'.repeat(MAX_CONTENT + 1))).toBe(1);
  expect(excess('😀'.repeat(MAX_CONTENT))).toBe(0);
  expect(excess('😀'.repeat(MAX_CONTENT + 2))).toBe(2);
});
