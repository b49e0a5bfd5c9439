/**
 * Web Storage as a key-value store that never throws.
 *
 * If storage is blocked (private windows, embedded pages) or full, values are kept in memory.
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
      // A value in memory is newer than the stored value, because it could not be stored.
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

/** Local storage: shared by all tabs, persistent. */
export const shared = createStore(() => window.localStorage);

/** Session storage: only for this tab, kept across a reload. */
export const perTab = createStore(() => window.sessionStorage);
