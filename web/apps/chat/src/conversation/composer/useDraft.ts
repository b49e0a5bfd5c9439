/** The unsent text of the composer, stored per user and chat, so that it survives a reload. */
import { useCallback, useState } from 'react';

import { shared, userKey } from '../../storage/storage.ts';

export function useDraft(userId: string, chatId: string): readonly [string, (text: string) => void] {
  const key = userKey(userId, 'draft', chatId);
  const [text, setText] = useState(() => shared.get(key) ?? '');
  const change = useCallback(
    (next: string) => {
      setText(next);
      if (next === '') shared.remove(key);
      else shared.set(key, next);
    },
    [key],
  );
  return [text, change];
}
