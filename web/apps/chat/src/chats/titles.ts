/** What a chat is called. */
import type { Dictionary } from '../i18n/en.ts';
import { LOBBY } from '../routing/route.ts';

/** Longest title in characters, as the API takes it. */
export const MAX_TITLE = 200;

export function titleOf(
  chat: { readonly id: string; readonly title: string | null },
  words: Dictionary['chats'],
): string {
  if (chat.title !== null && chat.title.trim() !== '') return chat.title;
  if (chat.id === LOBBY) return words.lobby;
  // An id that somebody chose tells something; one that a program made does not.
  return /^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(chat.id) ? words.untitled : chat.id;
}
