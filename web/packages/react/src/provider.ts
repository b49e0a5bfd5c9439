/** Provides the client to the hooks, and holds the connection while mounted. */
import { type WebSocketClient, websocketClient } from '@roomcast/client';
import { createContext, createElement, type ReactElement, type ReactNode, useContext, useEffect } from 'react';

const ClientContext = createContext<WebSocketClient | null>(null);

export interface RoomcastProviderProps {
  /** Default: the guide's singleton `websocketClient`. */
  client?: WebSocketClient;
  /** Connects as this user while mounted. If null or undefined, the provider does not connect. */
  userId?: string | null | undefined;
  children?: ReactNode;
}

/** Provides a client to the hooks of its descendants. */
export function RoomcastProvider({ client = websocketClient, userId, children }: RoomcastProviderProps): ReactElement {
  useHeldConnection(client, userId);
  return createElement(ClientContext.Provider, { value: client }, children);
}

/** The client of the nearest provider; without a provider, the guide's singleton. */
export function useRoomcastClient(): WebSocketClient {
  return useContext(ClientContext) ?? websocketClient;
}

/** Holds the connection while mounted. Components share the connection; it closes when the last of them unmounts. */
export function useHeldConnection(client: WebSocketClient, userId: string | null | undefined): void {
  useEffect(() => (userId ? client.acquire(userId) : undefined), [client, userId]);
}
