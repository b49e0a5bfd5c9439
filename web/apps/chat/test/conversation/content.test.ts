import { expect, test } from 'vitest';

import { excessLength, MAX_CONTENT, toContent } from '../../src/conversation/content.ts';

test('content is trimmed, without U+0000 and lone surrogates', () => {
  expect(toContent('  a\n b\0 \n')).toBe('a\n b');
  expect(toContent('x\ud800y')).toBe('x\ufffdy');
  expect(toContent('😀')).toBe('😀');
});

test('the length is counted in code points, as on the server', () => {
  expect(excessLength('a'.repeat(MAX_CONTENT))).toBe(0);
  expect(excessLength('a'.repeat(MAX_CONTENT + 1))).toBe(1);
  expect(excessLength('😀'.repeat(MAX_CONTENT))).toBe(0);
  expect(excessLength('😀'.repeat(MAX_CONTENT + 2))).toBe(2);
});
