/** The connection as a reader understands it. */
import { ConnectionState, useConnection } from '@roomcast/react';
import { useEffect, useState, useSyncExternalStore } from 'react';

/** The client's states, and `offline`: not connected, and the browser knows that there is no network. */
export type Reach = `${ConnectionState}` | 'offline';

export interface Connection {
  readonly reach: Reach;
  /** It was there and has been gone for more than a moment: worth a banner. */
  readonly lost: boolean;
  /** It has not been there yet, for longer than a connection takes: worth a banner, too. */
  readonly overdue: boolean;
  /** Why the server refuses, if it does. */
  readonly error: Error | null;
}

const OVERDUE_MS = 5_000;

function subscribe(listener: () => void): () => void {
  window.addEventListener('online', listener);
  window.addEventListener('offline', listener);
  return () => {
    window.removeEventListener('online', listener);
    window.removeEventListener('offline', listener);
  };
}

function useNetwork(): boolean {
  return useSyncExternalStore(subscribe, () => navigator.onLine);
}

function useOverdue(waiting: boolean): boolean {
  const [overdue, setOverdue] = useState(false);
  useEffect(() => {
    if (!waiting) return;
    const timer = setTimeout(() => setOverdue(true), OVERDUE_MS);
    return () => {
      clearTimeout(timer);
      setOverdue(false);
    };
  }, [waiting]);
  return overdue;
}

export function useReach(): Connection {
  const { state, lost, error } = useConnection();
  const network = useNetwork();
  const reach = state !== ConnectionState.CONNECTED && !network ? 'offline' : state;
  const overdue = useOverdue(state === ConnectionState.CONNECTING || state === ConnectionState.RECONNECTING);
  return { reach, lost, overdue, error };
}
