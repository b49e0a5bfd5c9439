/** What the user may do with the chat and with messages of others, by its role. */
import { useMembers } from '@roomcast/react';

import { rightsOf, type Rights } from './roles.ts';

export function useRights(chatId: string, me: string): Rights {
  const { members } = useMembers(chatId);
  return rightsOf(members ?? [], me);
}
