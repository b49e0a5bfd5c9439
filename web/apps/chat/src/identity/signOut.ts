/** Removes everything of a user from the browser, at sign-out and when another user signs in. */
import { client } from '../client.ts';
import type { Dictionary } from '../i18n/en.ts';
import { shared, userKey } from '../storage/storage.ts';
import { identity } from './identity.ts';
import { endSession } from './session.ts';

/**
 * Removes drafts, read marks, unsent messages and cached chats of a user.
 *
 * @returns False if the user decided to keep messages that are not sent yet; nothing is removed then.
 */
export function forget(userId: string, words: Dictionary['identity']): boolean {
  const unsent = client.countUnsent(userId);
  if (unsent > 0 && !window.confirm(words.unsentLost(userId, unsent))) return false;
  client.forget(userId);
  shared.removeAll(userKey(userId, ''));
  return true;
}

/**
 * Signs the user out.
 *
 * @param session - The user has signed in at the identity provider: ends the session, which all tabs share.
 */
export function signOut(userId: string, words: Dictionary['identity'], session: boolean): void {
  if (!forget(userId, words)) return;
  identity.clear();
  // Without an answer the session ends by itself, and this tab has forgotten its token.
  if (session) endSession().catch(() => undefined);
}
