/** Requests of a component: those that read what it shows, and those that change something. */
import { useCallback, useEffect, useEffectEvent, useState } from 'react';

/** @returns Whether the action succeeded. Never rejects. */
export type Attempt = (action: Promise<unknown>) => Promise<boolean>;

/** The failure of the last action, null if there is none; and what runs an action. */
export function useAttempt(): readonly [unknown, Attempt] {
  const [failure, setFailure] = useState<unknown>(null);
  const attempt = useCallback<Attempt>((action) => {
    setFailure(null);
    return action.then(
      () => true,
      (error: unknown) => {
        setFailure(error);
        return false;
      },
    );
  }, []);
  return [failure, attempt];
}

interface Loaded<T> {
  /** Null before the first success. */
  readonly value: T | null;
  /** Why the last attempt failed; null if it did not. */
  readonly error: unknown;
  readonly set: (value: T) => void;
  readonly reload: () => void;
}

/** What `read` returns, called again for another `key` and by `reload`; not while `key` is null. */
export function useLoaded<T>(read: () => Promise<T>, key: string | null = ''): Loaded<T> {
  const [value, set] = useState<T | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [version, setVersion] = useState(0);
  const begin = useEffectEvent(read);
  useEffect(() => {
    let current = key !== null;
    if (current)
      begin().then(
        (found) => {
          if (!current) return;
          set(found);
          setError(null);
        },
        (failure: unknown) => {
          if (current) setError(failure);
        },
      );
    return () => {
      current = false;
    };
  }, [key, version]);
  const reload = useCallback(() => setVersion((before) => before + 1), []);
  return { value, error, set, reload };
}
