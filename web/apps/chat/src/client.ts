/** The client of the page: the API below the page's base path, with the user of this tab. */
import { type contract, createClient } from '@roomcast/react';

import { identity } from './identity/identity.ts';
import { sessionToken } from './identity/session.ts';
import { readSubject } from './identity/token.ts';
import { BASE_PATH } from './routing/base.ts';
import { scoped } from './storage/storage.ts';

/** Keeps unsent messages across a reload. */
export const client = createClient({ apiUrl: BASE_PATH, storage: scoped(() => window.localStorage) });

/** Loads the configuration of the server, and makes the client send a token if the server requires one. */
export async function loadConfig(): Promise<contract.Config> {
  const config = await client.api.config();
  if (config.signIn) {
    // Signed in at the identity provider, in this tab or another one.
    const token = await sessionToken();
    if (token === null) identity.removeToken();
    else if (identity.get()?.token == null || identity.get()?.userId !== readSubject(token)) identity.setToken(token);
    client.configure({ getToken: () => (identity.get() === null ? null : sessionToken()) });
  } else if (config.auth) client.configure({ getToken: () => identity.get()?.token ?? null });
  return config;
}
