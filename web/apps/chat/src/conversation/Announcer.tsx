/** Reads new messages of others out to screen readers. What was there before, or is loaded from above, is not news. */
import type { ChatEntry } from '@roomcast/react';
import { useState } from 'react';

import { useStrings } from '../i18n/language.ts';
import { after, isMine } from './timeline.ts';

// Readers hear what is added; older lines are only kept so that nothing is said twice.
const KEPT = 5;

interface Props {
  readonly messages: readonly ChatEntry[];
  readonly me: string;
}

export function Announcer({ messages, me }: Props) {
  const { conversation: words } = useStrings();
  const [start] = useState(() => messages.at(-1)?.key ?? null);
  const news = after(messages, start).filter((message) => message.status === 'sent' && !isMine(message, me));
  return (
    <div
      className="visually-hidden"
      role="log"
      aria-live="polite"
      aria-relevant="additions"
      aria-label={words.messages}
    >
      {news.slice(-KEPT).map((message) => (
        <p key={message.key}>
          {words.said(message.role === 'AI' ? words.ai : (message.userId ?? words.someone), message.content)}
        </p>
      ))}
    </div>
  );
}
