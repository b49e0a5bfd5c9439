import { afterEach, expect, test, vi } from 'vitest';

import { createSetting } from '../../src/storage/setting.ts';
import { createStore, scoped, userKey } from '../../src/storage/storage.ts';

afterEach(() => {
  localStorage.clear();
  vi.restoreAllMocks();
});

test('values are stored with a prefix', () => {
  const store = createStore(() => localStorage);
  store.set('a', '1');
  expect(store.get('a')).toBe('1');
  expect(localStorage.getItem('roomcast.a')).toBe('1');
  store.remove('a');
  expect(store.get('a')).toBeNull();
});

test('the values of one user are removed together, and those of no other user', () => {
  const blocked = createStore(() => {
    throw new DOMException('denied', 'SecurityError');
  });
  const users = ['a', 'a/draft', 'a/draft/c', '', '%2F', 'a.b', '__proto__'];
  for (const store of [createStore(() => localStorage), blocked]) {
    const keys = users.flatMap((user) => [
      userKey(user, 'read'),
      userKey(user, 'draft', 'c'),
      userKey(user, 'draft', '/c'),
    ]);
    expect(new Set(keys).size).toBe(keys.length);
    for (const key of keys) store.set(key, key);
    store.set('theme', 'dark');
    store.removeAll(userKey('a', ''));
    expect(keys.filter((key) => store.get(key) === null)).toEqual(keys.slice(0, 3));
    expect(store.get('theme')).toBe('dark');
  }
});

test('a value that cannot be removed reads as absent until it is set again', () => {
  const store = createStore(() => localStorage);
  for (const remove of [() => store.remove('a'), () => store.removeAll('a')]) {
    store.set('a', '1');
    const damaged = vi.spyOn(Storage.prototype, 'removeItem').mockImplementation(() => {
      throw new DOMException('damaged', 'UnknownError');
    });
    remove();
    expect(store.get('a')).toBeNull();
    damaged.mockRestore();
    store.set('a', '2');
    expect(store.get('a')).toBe('2');
  }
});

test('a storage with a scope has no keys of other scopes', () => {
  const [root, chat] = [scoped(() => localStorage, ''), scoped(() => localStorage, 'chat/')];
  root.setItem('a', 'of the root');
  chat.setItem('a', 'of the chat');
  chat.setItem('b', '');
  expect([root.getItem('a'), chat.getItem('a')]).toEqual(['of the root', 'of the chat']);
  const keys = Array.from({ length: chat.length }, (_, index) => chat.key(index));
  expect(keys.filter((key) => key !== null).sort()).toEqual(['a', 'b']);
  chat.removeItem('a');
  expect([root.getItem('a'), chat.getItem('a')]).toEqual(['of the root', null]);
});

test('values are kept in memory if storage is blocked', () => {
  const store = createStore(() => {
    throw new DOMException('denied', 'SecurityError');
  });
  expect(store.get('a')).toBeNull();
  store.set('a', '1');
  expect(store.get('a')).toBe('1');
  store.remove('a');
  expect(store.get('a')).toBeNull();
});

test('a value that exceeds the quota replaces the stored one', () => {
  const store = createStore(() => localStorage);
  store.set('a', 'old');
  vi.spyOn(Storage.prototype, 'setItem').mockImplementation(() => {
    throw new DOMException('full', 'QuotaExceededError');
  });
  store.set('a', 'new');
  expect(store.get('a')).toBe('new');
});

test('a setting ignores invalid values, and notifies of changes in this and other tabs', () => {
  const setting = createSetting(
    'colour',
    (value) => value === 'red' || value === 'blue',
    () => 'red' as const,
  );
  localStorage.setItem('roomcast.colour', 'invalid');
  expect(setting.get()).toBe('red');
  const listener = vi.fn();
  const stop = setting.subscribe(listener);
  setting.set('blue');
  expect(setting.get()).toBe('blue');
  window.dispatchEvent(new StorageEvent('storage', { key: 'roomcast.colour' }));
  window.dispatchEvent(new StorageEvent('storage', { key: 'roomcast.other' }));
  window.dispatchEvent(new StorageEvent('storage', { key: 'roomcast.other.colour' }));
  expect(listener).toHaveBeenCalledTimes(2);
  stop();
  setting.set('red');
  expect(listener).toHaveBeenCalledTimes(2);
});
