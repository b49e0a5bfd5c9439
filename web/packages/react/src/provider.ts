/** Hands the client to the hooks, and holds the connection while it is mounted. */
import { type WebSocketClient, websocketClient } from '@roomcast/client';
import { createContext, createElement, type ReactElement, type ReactNode, useContext, useEffect } from 'react';

const ClientContext = createContext<WebSocketClient | null>(null);

export interface RoomcastProviderProps {
  /** Default: the guide's singleton. */
  client?: WebSocketClient;
  /** Whom to connect as, for as long as the provider is mounted. Without it something else connects. */
  userId?: string | null | undefined;
  children?: ReactNode;
}

export function RoomcastProvider({ client = websocketClient, userId, children }: RoomcastProviderProps): ReactElement {
  useHeldConnection(client, userId);
  return createElement(ClientContext.Provider, { value: client }, children);
}

/** The provider's client; without a provider the guide's singleton. */
export function useRoomcastClient(): WebSocketClient {
  return useContext(ClientContext) ?? websocketClient;
}

/** Keeps the connection while mounted. Several components share it; the last to unmount closes it. */
export function useHeldConnection(client: WebSocketClient, userId: string | null | undefined): void {
  useEffect(() => (userId ? client.acquire(userId) : undefined), [client, userId]);
}
