import { afterEach, expect, test } from 'vitest';

import { identity, suggestedName, validateName } from '../../src/identity/identity.ts';
import { readSubject } from '../../src/identity/token.ts';

const encode = (value: unknown) =>
  btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(value))))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
const tokenOf = (claims: unknown) => `${encode({ alg: 'HS256' })}.${encode(claims)}.c2ln`;

afterEach(() => {
  identity.clear();
  sessionStorage.clear();
  localStorage.clear();
});

test('a name is kept in the tab and only suggested in others', () => {
  identity.setName('Ada');
  expect(identity.get()).toEqual({ userId: 'Ada', token: null });
  expect(sessionStorage.getItem('roomcast.name')).toBe('Ada');
  sessionStorage.clear();
  expect(identity.get()).toBeNull();
  expect(suggestedName()).toBe('Ada');
});

test('the identity is the same object until it changes', () => {
  identity.setName('Ada');
  expect(identity.get()).toBe(identity.get());
});

test('a token defines the user id and is not written to the shared storage', () => {
  const token = tokenOf({ sub: '小美', exp: 4_000_000_000 });
  identity.setToken(token);
  expect(identity.get()).toEqual({ userId: '小美', token });
  expect(JSON.stringify(localStorage)).not.toContain(token);
  identity.setName('Ada');
  expect(identity.get()?.token).toBeNull();
});

test.each([
  '',
  'a.b',
  'a.b.c',
  `a.${encode('x')}.c`,
  tokenOf({}),
  tokenOf({ sub: '' }),
  tokenOf({ sub: '\u200b' }),
  tokenOf({ sub: 'a\ud800' }),
  tokenOf({ sub: 1 }),
])('%j is not a token', (text) => {
  expect(readSubject(text)).toBeNull();
});

test.each([
  ['Ada', null],
  ['小美 👩‍💻', null],
  ['', 'required'],
  ['\u2800\u200b', 'required'],
  ['a\u2028b', 'invalid'],
  ['a'.repeat(128), null],
  ['😀'.repeat(129), 'too-long'],
  ['a\nb', 'invalid'],
  ['a\u202eb', 'invalid'],
  ['a\ud800', 'invalid'],
])('validateName(%j) returns %s', (name, error) => {
  expect(validateName(name)).toBe(error);
});
