import { expect, test } from 'vitest';

import { chatPath, parsePath } from '../../src/routing/route.ts';

test.each([
  ['/c/lobby', 'lobby'],
  ['/c/lobby/', 'lobby'],
  ['/c/a%3Ab~c%40d.e_f-9', 'a:b~c@d.e_f-9'],
  ['/c/a:b', 'a:b'],
])('%s is the path of the chat %s', (path, chatId) => {
  expect(parsePath(path)).toEqual({ name: 'chat', chatId });
});

test('the root path is home', () => {
  expect(parsePath('/')).toEqual({ name: 'home' });
});

test.each(['/c/', '/c', '/x', '/c/a/b', '/c/a%2Fb', '/c/%', '/c/%20', '/c/..', '/c/.', `/c/${'a'.repeat(129)}`])(
  '%s is unknown',
  (path) => {
    expect(parsePath(path)).toEqual({ name: 'unknown' });
  },
);

test.each(['lobby', 'a:b~c@d.e', 'A'.repeat(128)])('the path of %s is parsed to the same chat', (chatId) => {
  expect(parsePath(chatPath(chatId))).toEqual({ name: 'chat', chatId });
});
