/** Why the user cannot write in a chat now. */
import { ProblemError, useMembers } from '@roomcast/react';
import { useEffect, useState } from 'react';

import { useFormats, useStrings } from '../i18n/language.ts';
import { muteEnd } from './roles.ts';

/** The longest time of a timer in a browser. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The reason as a sentence; null if the user can write. */
export function useBlocked(chatId: string, me: string): string | null {
  const { members: words } = useStrings();
  const formats = useFormats();
  const { members, error } = useMembers(chatId);
  const own = members?.find(({ userId }) => userId === me);
  const [now, setNow] = useState(Date.now);
  const muted = own === undefined ? null : muteEnd(own, now);
  const end = muted?.getTime() ?? null;
  useEffect(() => {
    if (end === null) return undefined;
    const timer = window.setTimeout(
      () => setNow(Date.now()),
      Math.min(Math.max(end - Date.now(), 0) + 1, MAX_TIMER_MS),
    );
    return () => window.clearTimeout(timer);
  }, [end, now]);
  // A chat without messages may not exist yet: only a former member has left it.
  if (own !== undefined && error instanceof ProblemError && error.code === 'chat-not-found') return words.left;
  if (own?.role === 'reader') return words.reader;
  return muted === null ? null : words.youAreMuted(formats.full(muted));
}
