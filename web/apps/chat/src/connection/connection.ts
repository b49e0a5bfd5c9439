/** The connection state as the page displays it. */
import { ConnectionState, useConnection } from '@roomcast/react';
import { useEffect, useState, useSyncExternalStore } from 'react';

import { onEvents } from '../listeners.ts';

/** A state of the client, or `offline`: not connected, and the browser reports no network. */
export type DisplayState = `${ConnectionState}` | 'offline';

export interface ConnectionDisplay {
  readonly state: DisplayState;
  /** An established connection has been down for at least 2 s. */
  readonly lost: boolean;
  /** The client has been connecting or reconnecting for longer than `OVERDUE_MS`. */
  readonly overdue: boolean;
  /** Why the last attempt failed; null if it did not fail. */
  readonly error: Error | null;
}

/** Connecting or reconnecting counts as overdue after this time. */
const OVERDUE_MS = 5_000;

const subscribeToNetwork = onEvents(window, 'online', 'offline');

function useOnline(): boolean {
  return useSyncExternalStore(subscribeToNetwork, () => navigator.onLine);
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

export function useConnectionDisplay(): ConnectionDisplay {
  const { state, lost, error } = useConnection();
  const online = useOnline();
  const overdue = useOverdue(state === ConnectionState.CONNECTING || state === ConnectionState.RECONNECTING);
  return { state: state !== ConnectionState.CONNECTED && !online ? 'offline' : state, lost, overdue, error };
}
