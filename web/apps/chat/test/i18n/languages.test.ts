import { expect, test } from 'vitest';

import { languages, pickLanguage } from '../../src/i18n/languages.ts';

test.each([
  [['zh-TW', 'en'], 'zh-Hant'],
  [['zh-HK'], 'zh-Hant'],
  [['zh-CN'], 'zh-Hant'],
  [['fr-FR', 'zh-Hant-TW'], 'zh-Hant'],
  [['en-GB', 'zh-TW'], 'en'],
  [['de'], 'en'],
  [[], 'en'],
])('a reader of %j gets %s', (preferred, expected) => {
  expect(pickLanguage(preferred)).toBe(expected);
});

/** Every string of a dictionary by its path; functions are called with a stand-in. */
function strings(node: unknown, path = ''): [string, string][] {
  if (typeof node === 'string') return [[path, node]];
  if (typeof node === 'function') return [[path, String((node as (...args: unknown[]) => unknown)(7, 'x'))]];
  return Object.entries(node as object).flatMap(([key, value]) => strings(value, `${path}.${key}`));
}

test.each(Object.entries(languages))('%s leaves no string empty and forgets no argument', (_, dictionary) => {
  for (const [path, text] of strings(dictionary)) {
    expect(text, path).not.toBe('');
    expect(text, path).not.toContain('undefined');
  }
});

test('each language says everything in its own words', () => {
  // Names and signs that are the same everywhere.
  const shared = ['.app.name', '.conversation.aiBadge'];
  const english = new Map(strings(languages.en));
  for (const [path, text] of strings(languages['zh-Hant'])) {
    if (!shared.includes(path)) expect(text, path).not.toBe(english.get(path));
  }
});
