/** Announces new messages of other users to screen readers; stored messages and loaded history are not announced. */
import type { ChatEntry } from '@roomcast/react';
import { useState } from 'react';

import { useStrings } from '../i18n/language.ts';
import { isMine, messagesAfter } from './timeline.ts';

// Screen readers announce added elements; a few older ones are kept, so that none is announced twice.
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
