/**
 * Web Storage as a key-value store that never throws.
 *
 * If storage is blocked (private windows, embedded pages) or full, values are kept in memory.
 */
import type { KeyValueStorage } from '@roomcast/react';

import { onEvents } from '../listeners.ts';
import { BASE_PATH } from '../routing/base.ts';

export interface KeyValueStore {
  get(key: string): string | null;
  set(key: string, value: string): void;
  remove(key: string): void;
  /** Removes all values whose key starts with `prefix`. */
  removeAll(prefix: string): void;
}

/** Begins all keys, so that deployments below other paths of the origin have their own values; empty at the root. */
const SCOPE = BASE_PATH.slice(1);
// public/theme.js has the same.
const PREFIX = `${SCOPE}roomcast.`;
const subscribeToStorage = onEvents(window, 'storage');

/** Key of a value of one user. All keys of the user, and no others, start with `userKey(userId, '')`. */
export function userKey(userId: string, ...path: string[]): string {
  // encodeURIComponent encodes the separator, so that no id contains it.
  return ['user', userId, ...path].map(encodeURIComponent).join('/');
}

export function createStore(area: () => Storage): KeyValueStore {
  /** Values that could not be stored; null for a stored value that could not be removed. */
  const fallback = new Map<string, string | null>();

  function attempt<T>(action: (storage: Storage) => T, otherwise: () => T): T {
    try {
      return action(area());
    } catch {
      return otherwise();
    }
  }

  function remove(key: string): void {
    attempt(
      (storage) => {
        storage.removeItem(PREFIX + key);
        fallback.delete(key);
      },
      () => void fallback.set(key, null),
    );
  }

  return {
    get(key) {
      // A value in memory is newer than the stored value, because it could not be stored.
      const unwritten = fallback.get(key);
      if (unwritten !== undefined) return unwritten;
      return attempt(
        (storage) => storage.getItem(PREFIX + key),
        () => null,
      );
    },
    set(key, value) {
      attempt(
        (storage) => {
          storage.setItem(PREFIX + key, value);
          fallback.delete(key);
        },
        () => void fallback.set(key, value),
      );
    },
    remove,
    removeAll(prefix) {
      const stored = attempt<string[]>(
        (storage) => Object.keys(storage).map((key) => (key.startsWith(PREFIX) ? key.slice(PREFIX.length) : '')),
        () => [],
      );
      for (const key of [...fallback.keys(), ...stored]) if (key.startsWith(prefix)) remove(key);
    },
  };
}

/** Local storage: shared by all tabs, persistent. */
export const shared = createStore(() => window.localStorage);

/**
 * Calls the listener when another tab changes a value of `shared`.
 *
 * @returns A function that removes the listener.
 */
export function onSharedChange(key: string, listener: () => void): () => void {
  return subscribeToStorage((event) => {
    const changed = (event as StorageEvent).key;
    // Null: all keys were removed.
    if (changed === null || changed === PREFIX + key) listener();
  });
}

/** The part of a storage whose keys begin with a scope. Looked up at each access, which throws if storage is blocked. */
export function scoped(area: () => Storage, scope = SCOPE): KeyValueStorage {
  return {
    get length() {
      return area().length;
    },
    key: (index) => {
      const key = area().key(index) ?? '';
      return key.startsWith(scope) ? key.slice(scope.length) : null;
    },
    getItem: (key) => area().getItem(scope + key),
    setItem: (key, value) => area().setItem(scope + key, value),
    removeItem: (key) => area().removeItem(scope + key),
  };
}

/** Session storage: only for this tab, kept across a reload. */
export const perTab = createStore(() => window.sessionStorage);
