import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';

import { themeSetting } from '../../src/settings/theme.ts';

const SCRIPT = readFileSync(resolve(import.meta.dirname, '../../public/theme.js'), 'utf8');

/** The theme that the document has before the first paint. */
function themeOf(url: string): string | undefined {
  const element = Object.assign(document.createElement('script'), { src: url });
  vi.spyOn(document, 'currentScript', 'get').mockReturnValue(element);
  window.eval(SCRIPT);
  return document.documentElement.dataset['theme'];
}

afterEach(() => {
  vi.restoreAllMocks();
  localStorage.clear();
  delete document.documentElement.dataset['theme'];
});

test('the chosen theme is set before the first paint', () => {
  expect(themeOf('https://host/theme.js')).toBeUndefined();
  themeSetting.set('dark');
  expect(themeOf('https://host/theme.js')).toBe('dark');
});

test('each base path has a theme of its own', () => {
  localStorage.setItem('roomcast.theme', 'light');
  localStorage.setItem('chat/roomcast.theme', 'dark');
  expect(themeOf('https://host/other/theme.js')).toBeUndefined();
  expect(themeOf('https://host/chat/theme.js')).toBe('dark');
});
