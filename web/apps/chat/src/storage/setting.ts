/** One remembered choice, shared by all tabs: a value that React can subscribe to. */
import { shared } from './storage.ts';

export interface Setting<T extends string> {
  readonly get: () => T;
  readonly set: (value: T) => void;
  readonly subscribe: (listener: () => void) => () => void;
}

/**
 * @param key - Where it is kept.
 * @param isValid - What a stored text must be to count.
 * @param byDefault - Read while nothing valid is stored.
 */
export function createSetting<T extends string>(
  key: string,
  isValid: (value: unknown) => value is T,
  byDefault: () => T,
): Setting<T> {
  const listeners = new Set<() => void>();
  const notify = (): void => {
    for (const listener of listeners) listener();
  };
  const onStorage = (event: StorageEvent): void => {
    if (event.key === null || event.key.endsWith(key)) notify();
  };
  return {
    get() {
      const stored = shared.get(key);
      return isValid(stored) ? stored : byDefault();
    },
    set(value) {
      shared.set(key, value);
      notify();
    },
    subscribe(listener) {
      if (listeners.size === 0) window.addEventListener('storage', onStorage);
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0) window.removeEventListener('storage', onStorage);
      };
    },
  };
}
