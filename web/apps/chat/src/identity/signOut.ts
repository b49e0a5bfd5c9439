/** Removes everything of a user from the browser, at sign-out and when another user signs in. */
import { client } from '../client.ts';
import type { Dictionary } from '../i18n/en.ts';
import { shared, userKey } from '../storage/storage.ts';
import { turnOff } from '../notifications/device.ts';
import { identity } from './identity.ts';
import { endSession } from './session.ts';

/** Whether the user agrees to lose the messages that are not sent yet; asks only if there are any. */
function mayForget(userId: string, words: Dictionary['identity']): boolean {
  const unsent = client.countUnsent(userId);
  return unsent === 0 || window.confirm(words.unsentLost(userId, unsent));
}

/**
 * Removes drafts, read marks, unsent messages and cached chats of a user.
 *
 * @returns False if the user decided to keep messages that are not sent yet; nothing is removed then.
 */
export function forget(userId: string, words: Dictionary['identity']): boolean {
  if (!mayForget(userId, words)) return false;
  remove(userId);
  return true;
}

function remove(userId: string): void {
  client.forget(userId);
  shared.removeAll(userKey(userId, ''));
}

/**
 * Signs the user out. If the server does not confirm the end of the session, says so and changes nothing: the next
 * user of this browser would be signed in as this one.
 *
 * @param session - The user has signed in at the identity provider: ends the session, which all tabs share.
 */
export async function signOut(userId: string, words: Dictionary['identity'], session: boolean): Promise<void> {
  if (!mayForget(userId, words)) return;
  await turnOff(userId);
  try {
    if (session) await endSession();
  } catch {
    window.alert(words.signOutFailed);
    return;
  }
  remove(userId);
  identity.clear();
}
