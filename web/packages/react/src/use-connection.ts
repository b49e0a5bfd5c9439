/** Hooks for the state of the connection. */
import { type ConnectionSnapshot, type ConnectionState, INITIAL_CONNECTION } from '@roomcast/client';
import { useSyncExternalStore } from 'react';
import { useRoomcastClient } from './provider.ts';

/** State, user, last error, and whether an established connection has been down for at least 2 s. */
export function useConnection(): ConnectionSnapshot {
  const client = useRoomcastClient();
  return useSyncExternalStore(client.subscribeConnection, client.getConnection, () => INITIAL_CONNECTION);
}

/** Only the state; the component renders again only when the state changes. */
export function useConnectionState(): ConnectionState {
  const client = useRoomcastClient();
  return useSyncExternalStore(
    client.subscribeConnection,
    () => client.connectionState,
    () => INITIAL_CONNECTION.state,
  );
}
