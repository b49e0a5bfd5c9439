/**
 * The browser's storage as a plain key-value store that never throws.
 *
 * Storage may be forbidden (private windows, embedded pages) or full. The page then remembers for as long as it lives.
 */

export interface KeyValueStore {
  get(key: string): string | null;
  set(key: string, value: string): void;
  remove(key: string): void;
}

const PREFIX = 'roomcast.';

export function createStore(area: () => Storage): KeyValueStore {
  const fallback = new Map<string, string>();

  function attempt<T>(action: (storage: Storage) => T, otherwise: () => T): T {
    try {
      return action(area());
    } catch {
      return otherwise();
    }
  }

  return {
    get(key) {
      // What could not be written is newer than what is stored.
      const unwritten = fallback.get(key);
      return (
        unwritten ??
        attempt(
          (storage) => storage.getItem(PREFIX + key),
          () => null,
        )
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
    remove(key) {
      fallback.delete(key);
      attempt(
        (storage) => {
          storage.removeItem(PREFIX + key);
        },
        () => undefined,
      );
    },
  };
}

/** Shared by all tabs, kept for good. */
export const shared = createStore(() => window.localStorage);

/** This tab's own, kept over a reload. */
export const perTab = createStore(() => window.sessionStorage);
