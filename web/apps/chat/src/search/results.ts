/** What the search finds besides messages: loaded chats by title, and by the user of their last message. */
import type { ChatSummary, SearchHit } from '@roomcast/react';

import { titleOf } from '../chats/titles.ts';
import type { Dictionary } from '../i18n/en.ts';

/** Maximum number of chats, and of people. */
const MAX_EACH = 5;

export interface Result {
  readonly key: string;
  readonly kind: 'chat' | 'person' | 'message';
  readonly title: string;
  readonly hit?: SearchHit;
  readonly open: () => void;
}

export function findChats(
  chats: readonly ChatSummary[],
  text: string,
  words: Dictionary['chats'],
  me: string,
  open: (chatId: string) => void,
): Result[] {
  const wanted = text.trim().toLowerCase();
  if (wanted === '') return [];
  const matches = (name: string): boolean => name.toLowerCase().includes(wanted);
  const titled = chats
    .map((chat): Result => ({
      key: `c ${chat.id}`,
      kind: 'chat',
      title: titleOf(chat, words, me),
      open: () => open(chat.id),
    }))
    .filter((result) => matches(result.title));
  // The chat in which a person wrote last: the list is by latest activity.
  const people = new Map<string, Result>();
  for (const { id, lastMessage } of chats) {
    const name = lastMessage?.userId;
    if (name !== null && name !== undefined && !people.has(name) && matches(name))
      people.set(name, { key: `p ${name}`, kind: 'person', title: name, open: () => open(id) });
  }
  return [...titled.slice(0, MAX_EACH), ...[...people.values()].slice(0, MAX_EACH)];
}
