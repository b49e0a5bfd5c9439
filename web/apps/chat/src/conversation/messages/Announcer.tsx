/**
 * Announces new messages of other users to screen readers, but not the messages present at first or older pages. Of an
 * answer, its start and its end are announced, not each change.
 */
import type { ChatEntry } from '@roomcast/react';
import { useState } from 'react';

import { useStrings } from '../../i18n/language.ts';
import { describeTurn } from '../../answer/turns.ts';
import { isMine, messagesAfter } from './timeline.ts';

// Screen readers announce added elements. The last few stay in the document, so that no message is announced twice.
const MAX_KEPT = 5;
/** A longer answer is announced without its text, which the user can read in the list. */
const MAX_READ_CHARS = 400;

interface Props {
  readonly messages: readonly ChatEntry[];
  readonly me: string;
}

export function Announcer({ messages, me }: Props) {
  const { conversation: words, answer } = useStrings();
  const [startKey] = useState(() => messages.at(-1)?.key ?? null);
  const newMessages = messagesAfter(messages, startKey).filter(
    (message) => (message.status === 'sent' || message.status === 'live') && !isMine(message, me),
  );

  function textOf({ role, userId, content, turn }: ChatEntry): string {
    if (role === 'USER') return words.said(userId ?? words.someone, content);
    const name = words.ai;
    if (turn?.status === 'streaming') return answer.started(name);
    const end = turn === null ? '' : describeTurn(turn, answer);
    return words.said(name, `${content.length > MAX_READ_CHARS ? answer.ended : content} ${end}`.trim());
  }

  return (
    <div
      className="visually-hidden"
      role="log"
      aria-live="polite"
      aria-relevant="additions"
      aria-label={words.messages}
    >
      {newMessages.slice(-MAX_KEPT).map((message) => (
        <p key={`${message.key} ${message.role === 'AI' ? (message.turn?.status ?? '') : ''}`}>{textOf(message)}</p>
      ))}
    </div>
  );
}
