/** Announces new messages of other users to screen readers, but not the messages present at first or older pages. */
import type { ChatEntry } from '@roomcast/react';
import { useState } from 'react';

import { useStrings } from '../i18n/language.ts';
import { isMine, messagesAfter } from './timeline.ts';

// Screen readers announce added elements. The last few stay in the document, so that no message is announced twice.
const MAX_KEPT = 5;

interface Props {
  readonly messages: readonly ChatEntry[];
  readonly me: string;
}

export function Announcer({ messages, me }: Props) {
  const { conversation: words } = useStrings();
  const [startKey] = useState(() => messages.at(-1)?.key ?? null);
  const newMessages = messagesAfter(messages, startKey).filter(
    (message) => message.status === 'sent' && !isMine(message, me),
  );
  return (
    <div
      className="visually-hidden"
      role="log"
      aria-live="polite"
      aria-relevant="additions"
      aria-label={words.messages}
    >
      {newMessages.slice(-MAX_KEPT).map((message) => (
        <p key={message.key}>
          {words.said(message.role === 'AI' ? words.ai : (message.userId ?? words.someone), message.content)}
        </p>
      ))}
    </div>
  );
}
