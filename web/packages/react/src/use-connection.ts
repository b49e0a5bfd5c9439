/** The connection's state, as React sees it. */
import { type ConnectionSnapshot, ConnectionState } from '@roomcast/client';
import { useSyncExternalStore } from 'react';
import { useRoomcastClient } from './provider.ts';

const ON_SERVER: ConnectionSnapshot = { state: ConnectionState.DISCONNECTED, userId: null, error: null, lost: false };

/** State, user, last error, and whether the connection has been lost for long enough to say so. */
export function useConnection(): ConnectionSnapshot {
  const client = useRoomcastClient();
  return useSyncExternalStore(client.subscribeConnection, client.getConnection, () => ON_SERVER);
}

/** The state alone: renders again only when it changes. */
export function useConnectionState(): ConnectionState {
  const client = useRoomcastClient();
  return useSyncExternalStore(
    client.subscribeConnection,
    () => client.connectionState,
    () => ON_SERVER.state,
  );
}
