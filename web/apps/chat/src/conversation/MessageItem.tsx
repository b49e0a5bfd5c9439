/** One message: text, time and send status. */
import type { ChatEntry } from '@roomcast/react';
import { memo } from 'react';

import { describeError } from '../errors.ts';
import { useFormats, useStrings } from '../i18n/language.ts';
import { PlainText } from '../text/PlainText.tsx';
import { Icon } from '../ui/Icon.tsx';

interface Props {
  readonly message: ChatEntry;
  /** True for the last message of a group. */
  readonly showTime: boolean;
  readonly online: boolean;
  readonly onRetry: (key: string) => void;
  readonly onDiscard: (key: string) => void;
}

export const MessageItem = memo(function MessageItem({ message, showTime, online, onRetry, onDiscard }: Props) {
  const { conversation: words, errors } = useStrings();
  const formats = useFormats();
  return (
    <li
      className={`message message--${message.status}`}
      data-testid="message"
      data-message-id={message.id}
      data-seq={message.seq ?? undefined}
      data-author={message.userId ?? undefined}
      data-role={message.role}
      data-status={message.status}
    >
      <div className="message__bubble" dir="auto" title={formats.full(message.time)} data-testid="message-text">
        <PlainText text={message.content} />
      </div>
      {message.status === 'sending' && (
        <p className="message__state">
          <Icon name="clock" />
          {online ? words.pending : words.queued}
        </p>
      )}
      {message.status === 'failed' && (
        <p className="message__state message__state--failed" role="alert">
          <Icon name="alert" />
          <span>
            {message.error === null ? words.sendFailed : words.sendFailedBecause(describeError(message.error, errors))}
          </span>
          <button type="button" className="link" data-testid="retry" onClick={() => onRetry(message.key)}>
            {words.retry}
          </button>
          <button type="button" className="link" data-testid="discard" onClick={() => onDiscard(message.key)}>
            {words.discard}
          </button>
        </p>
      )}
      {message.status === 'sent' && showTime && (
        <time className="message__time" dateTime={message.time.toISOString()}>
          {formats.time(message.time)}
        </time>
      )}
    </li>
  );
});
