/** The client of the page: the API of the page's origin, with the user of this tab. */
import { type contract, createClient, type WebSocketClient } from '@roomcast/react';

import { identity } from './identity/identity.ts';

function newClient(): WebSocketClient {
  try {
    // Keeps unsent messages across a reload.
    return createClient({ storage: window.localStorage });
  } catch {
    // Storage is blocked: unsent messages are kept in memory.
    return createClient();
  }
}

export const client = newClient();

/** Loads the configuration of the server, and makes the client send a token if the server requires one. */
export async function loadConfig(): Promise<contract.Config> {
  const config = await client.api.config();
  if (config.auth) client.configure({ getToken: () => identity.get()?.token ?? null });
  return config;
}
