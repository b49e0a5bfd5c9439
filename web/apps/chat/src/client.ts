/** The client of the page: the API of the page's origin, with the user of this tab. */
import { type contract, createClient, type KeyValueStorage } from '@roomcast/react';

import { identity } from './identity/identity.ts';

/** Local storage, looked up at each access, because the look-up throws if storage is blocked. */
const storage: KeyValueStorage = {
  get length() {
    return window.localStorage.length;
  },
  key: (index) => window.localStorage.key(index),
  getItem: (key) => window.localStorage.getItem(key),
  setItem: (key, value) => window.localStorage.setItem(key, value),
  removeItem: (key) => window.localStorage.removeItem(key),
};

/** Keeps unsent messages across a reload. */
export const client = createClient({ storage });

/** Loads the configuration of the server, and makes the client send a token if the server requires one. */
export async function loadConfig(): Promise<contract.Config> {
  const config = await client.api.config();
  if (config.auth) client.configure({ getToken: () => identity.get()?.token ?? null });
  return config;
}
