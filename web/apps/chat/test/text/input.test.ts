import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';

import { rules } from '../../src/generated/rules.ts';
import { excessLength, toContent, toTitle } from '../../src/text/input.ts';

interface Case {
  readonly kind: keyof typeof rules;
  readonly text: string;
  readonly times: number;
  readonly legal: boolean;
  readonly note: string;
}

/** The same table as in the tests of the server. */
const table = resolve(import.meta.dirname, '../../../../../tests/unit/contract/texts.json');
const cases = JSON.parse(readFileSync(table, 'utf8')) as Case[];

/** An empty text is legal only beside files. */
const isLegal = (kind: keyof typeof rules, text: string) =>
  text !== '' && rules[kind].pattern.test(text) && excessLength(text, rules[kind]) === 0;

test.each(cases)('$kind: $note', ({ kind, text, times, legal }) => {
  const given = text.repeat(times);
  expect(isLegal(kind, given)).toBe(legal);
  // The page corrects a text, or does not send it.
  const sent = kind === 'content' ? toContent(given) : toTitle(given);
  if (legal) expect(sent).toBe(given.trim());
  else expect(sent === '' || excessLength(sent, rules[kind]) > 0 || isLegal(kind, sent)).toBe(true);
});

test('characters that Unicode does not show are blank, and all others are visible', () => {
  const invisible = /^[\p{White_Space}\p{Default_Ignorable_Code_Point}\p{Cc}\u2800\ufff9-\ufffb\u{1d159}]$/u;
  const different: string[] = [];
  for (let code = 1; code <= 0x10ffff; code += 1) {
    const char = String.fromCodePoint(code);
    if (rules.content.pattern.test(char) === invisible.test(char)) different.push(code.toString(16));
  }
  expect(different).toEqual([]);
});

test('content is trimmed, without U+0000 and lone surrogates', () => {
  expect(toContent('  a\n b\0 \n')).toBe('a\n b');
  expect(toContent('x\ud800y')).toBe('x\ufffdy');
  expect(toContent('😀')).toBe('😀');
});

test('a title is one line', () => {
  expect(toTitle(' a\nb\u2028c ')).toBe('a b c');
});

test('a long blank text is recognised at once', () => {
  const started = performance.now();
  expect(rules.content.pattern.test(`${' \u200b'.repeat(500_000)}\0`)).toBe(false);
  expect(performance.now() - started).toBeLessThan(1_000);
});
