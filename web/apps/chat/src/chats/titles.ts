/** Displayed titles of chats. */
import type { Dictionary } from '../i18n/en.ts';
import { LOBBY } from '../routing/route.ts';

/** The API's maximum length of a title, in characters. */
export const MAX_TITLE = 200;

export function titleOf(
  chat: { readonly id: string; readonly title: string | null },
  words: Dictionary['chats'],
): string {
  if (chat.title !== null && chat.title.trim() !== '') return chat.title;
  if (chat.id === LOBBY) return words.lobby;
  // A UUID is a generated id, which is not displayed.
  return /^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(chat.id) ? words.untitled : chat.id;
}
