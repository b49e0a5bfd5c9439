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
])('the preferences %j select %s', (preferred, expected) => {
  expect(pickLanguage(preferred)).toBe(expected);
});

/** All strings of a dictionary by path; functions are called with placeholder arguments. */
function strings(node: unknown, path = ''): [string, string][] {
  if (typeof node === 'string') return [[path, node]];
  if (typeof node === 'function') return [[path, String((node as (...args: unknown[]) => unknown)(7, 'x'))]];
  return Object.entries(node as object).flatMap(([key, value]) => strings(value, `${path}.${key}`));
}

test.each(Object.entries(languages))('%s has no empty string and uses no undefined argument', (_, dictionary) => {
  for (const [path, text] of strings(dictionary)) {
    expect(text, path).not.toBe('');
    expect(text, path).not.toContain('undefined');
  }
});

test('every string is translated', () => {
  // Names that are not translated.
  const untranslated = ['.app.name', '.conversation.aiBadge'];
  const english = new Map(strings(languages.en));
  for (const [path, text] of strings(languages['zh-Hant'])) {
    if (!untranslated.includes(path)) expect(text, path).not.toBe(english.get(path));
  }
});
