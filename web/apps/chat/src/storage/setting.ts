/** One stored setting, shared by all tabs, as an external store for React. */
import { Listeners } from '../listeners.ts';
import { onSharedChange, shared } from './storage.ts';

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
  const listeners = new Listeners((notify) => onSharedChange(key, notify));
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
