/** The page's one client: the API of this page's origin, as whoever speaks in this tab. */
import { type contract, createClient, type WebSocketClient } from '@roomcast/react';

import { identity } from './identity/identity.ts';

function newClient(): WebSocketClient {
  try {
    // Unsent messages wait here over a reload.
    return createClient({ storage: window.localStorage });
  } catch {
    // Storage is forbidden: what is unsent lives as long as the page.
    return createClient();
  }
}

export const client = newClient();

/** What the server says of itself. From then on the client knows whether it has to show a token. */
export async function loadConfig(): Promise<contract.Config> {
  const config = await client.api.config();
  if (config.auth) client.configure({ getToken: () => identity.get()?.token ?? null });
  return config;
}
