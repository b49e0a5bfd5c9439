/** The connection as a reader understands it. */
import { ConnectionState, useConnection } from '@roomcast/react';
import { useSyncExternalStore } from 'react';

/** The client's states, and `offline`: not connected, and the browser knows that there is no network. */
export type Reach = `${ConnectionState}` | 'offline';

export interface Connection {
  readonly reach: Reach;
  /** It was there and has been gone for more than a moment: worth a banner. */
  readonly lost: boolean;
  /** Why the server refuses, if it does. */
  readonly error: Error | null;
}

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

export function useReach(): Connection {
  const { state, lost, error } = useConnection();
  const network = useNetwork();
  const reach = state !== ConnectionState.CONNECTED && !network ? 'offline' : state;
  return { reach, lost, error };
}
