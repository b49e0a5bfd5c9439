/** One stored setting, shared by all tabs, as an external store for React. */
import { Listeners, onEvents } from '../listeners.ts';
import { shared } from './storage.ts';

const subscribeToStorage = onEvents(window, 'storage');

export interface Setting<T extends string> {
  readonly get: () => T;
  readonly set: (value: T) => void;
  readonly subscribe: (listener: () => void) => () => void;
}

/**
 * @param key - Storage key.
 * @param isValid - True for a valid value; an invalid stored value is ignored.
 * @param getDefault - Returns the value while no valid value is stored.
 */
export function createSetting<T extends string>(
  key: string,
  isValid: (value: unknown) => value is T,
  getDefault: () => T,
): Setting<T> {
  const listeners = new Listeners((notify) =>
    subscribeToStorage((event) => {
      const changedKey = (event as StorageEvent).key;
      if (changedKey === null || changedKey.endsWith(key)) notify();
    }),
  );
  return {
    get() {
      const stored = shared.get(key);
      return isValid(stored) ? stored : getDefault();
    },
    set(value) {
      shared.set(key, value);
      listeners.notify();
    },
    subscribe: listeners.subscribe,
  };
}
