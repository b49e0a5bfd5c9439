import { expect, test } from 'vitest';

import { basePathOf } from '../../src/routing/base.ts';
import { chatPath, parsePath } from '../../src/routing/route.ts';

test.each([
  ['https://host/assets/index-1a2b.js', '/'],
  ['https://host/chat/assets/index-1a2b.js?v=1', '/chat/'],
  ['https://host/assets/assets/index-1a2b.js', '/assets/'],
  ['http://localhost:5173/src/routing/base.ts', '/'],
])('a page with the module %s is below %s', (url, path) => {
  expect(basePathOf(url)).toBe(path);
});

test.each(['/', '/chat', '/chat/'])('below /chat/, %s is home', (path) => {
  expect(parsePath(path, '/chat/')).toEqual({ name: 'home' });
});

test.each(['/chat/c/lobby', '/chat/c/lobby/', '/c/lobby'])('below /chat/, %s is the path of the chat', (path) => {
  expect(parsePath(path, '/chat/')).toEqual({ name: 'chat', chatId: 'lobby' });
});

test.each(['/chat/chat/c/lobby', '/chats/c/lobby', '/chat/c', '/chat/x'])('below /chat/, %s is unknown', (path) => {
  expect(parsePath(path, '/chat/')).toEqual({ name: 'unknown' });
});

test('paths of chats begin with the base path', () => {
  expect(chatPath('a:b', '/chat/')).toBe('/chat/c/a%3Ab');
});
