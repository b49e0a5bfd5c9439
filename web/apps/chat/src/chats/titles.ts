/** Displayed titles of chats. */
import type { Dictionary } from '../i18n/en.ts';
import { LOBBY } from '../routing/route.ts';
import { toTitle } from '../text/input.ts';

export function titleOf(
  chat: { readonly id: string; readonly title: string | null; readonly direct?: readonly string[] | null },
  words: Dictionary['chats'],
  me?: string,
): string {
  if (chat.title !== null && toTitle(chat.title) !== '') return chat.title;
  if (chat.direct) return chat.direct.filter((userId) => userId !== me).join(', ');
  if (chat.id === LOBBY) return words.lobby;
  // A UUID is a generated id, which is not displayed.
  return /^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(chat.id) ? words.untitled : chat.id;
}
