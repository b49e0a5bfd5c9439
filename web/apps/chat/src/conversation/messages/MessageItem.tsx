/** One message: text or the parts of an answer, versions, time, and the states of sending and answering. */
import type { ChatEntry } from '@roomcast/react';
import { memo, useRef, useState } from 'react';

import { AnswerParts } from '../../answer/AnswerParts.tsx';
import { TurnState } from '../../answer/TurnState.tsx';
import { useVersions, type Versions } from '../../answer/useVersions.ts';
import { describeError, isRefusedText } from '../../errors.ts';
import { useFormats, useStrings } from '../../i18n/language.ts';
import { PlainText } from '../../text/PlainText.tsx';
import { Icon } from '../../ui/Icon.tsx';
import { useChatActions } from '../actions.ts';
import { Attachments } from './Attachments.tsx';
import { EditForm } from './EditForm.tsx';
import { MarkButtons, Quote, Reactions, ThreadButton } from './MessageMarks.tsx';
import { ReadBy } from './ReadBy.tsx';

interface Props {
  readonly message: ChatEntry;
  readonly mine: boolean;
  /** True for the last message of a group. */
  readonly showTime: boolean;
  readonly online: boolean;
}

export const MessageItem = memo(function MessageItem({ message, mine, showTime, online }: Props) {
  const { conversation: words, answer, errors, marks } = useStrings();
  const formats = useFormats();
  const actions = useChatActions();
  const versions = useVersions(message);
  const [editing, setEditing] = useState(false);
  // Its actions are reached with Tab only while it has the focus: a long list would be a long way.
  const [focused, setFocused] = useState(false);
  const item = useRef<HTMLLIElement>(null);
  const { shown } = versions;
  const streaming = shown.role === 'AI' && shown.turn?.status === 'streaming';
  return (
    <li
      ref={item}
      className={`message message--${message.status}`}
      data-testid="message"
      data-message-id={message.id}
      data-seq={message.seq ?? undefined}
      data-place={message.place ?? undefined}
      data-author={message.userId ?? undefined}
      data-role={message.role}
      data-status={message.status}
      data-turn-status={message.turn?.status}
      tabIndex={-1}
      aria-busy={streaming}
      onFocus={() => setFocused(true)}
      onBlur={(event) => setFocused(event.currentTarget.contains(event.relatedTarget))}
      onClick={(event) => {
        // A tap shows the actions. Not all touch browsers focus an element of this kind themselves.
        if (!event.currentTarget.contains(document.activeElement)) event.currentTarget.focus({ preventScroll: true });
      }}
    >
      {message.replyTo !== null && <Quote messageId={message.replyTo} />}
      {editing ? (
        <EditForm
          content={message.content}
          files={message.attachments}
          label={message.status === 'failed' ? words.send : message.turn === null ? answer.saveOnly : answer.save}
          onSave={(content, removed) => {
            if (message.status !== 'failed') return actions.edit(message.id, content, removed);
            const attachments = message.attachments.filter(({ id }) => !removed.includes(id));
            actions.resend({ ...message, attachments }, content);
            return Promise.resolve(true);
          }}
          onClose={() => {
            setEditing(false);
            item.current?.focus();
          }}
        />
      ) : (
        <Content message={shown} streaming={streaming} title={formats.full(message.time)} />
      )}
      {!editing && <Attachments files={shown.attachments} />}
      <Reactions message={message} />
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
          {isRefusedText(message.error) && (
            <button type="button" className="link" data-testid="edit-refused" onClick={() => setEditing(true)}>
              {answer.edit}
            </button>
          )}
          <button type="button" className="link" data-testid="retry" onClick={() => actions.retry(message.key)}>
            {words.retry}
          </button>
          <button type="button" className="link" data-testid="discard" onClick={() => actions.discard(message.key)}>
            {words.discard}
          </button>
        </p>
      )}
      {message.status === 'live' && (
        <p className="message__state" data-testid="live">
          <time dateTime={message.time.toISOString()}>{formats.time(message.time)}</time>
          {words.live}
        </p>
      )}
      {message.status === 'sent' && (
        <div className="message__foot">
          {showTime && !streaming && (
            <time className="message__time" dateTime={message.time.toISOString()}>
              {formats.time(message.time)}
            </time>
          )}
          <ThreadButton messageId={message.id} />
          {message.pinned && <span className="message__time">{marks.isPinned}</span>}
          {message.version > 1 && !message.deleted && <VersionSwitch versions={versions} />}
          {!editing && !streaming && !message.deleted && (
            <MarkButtons message={message} mine={mine} focused={focused} onEdit={() => setEditing(true)} />
          )}
          <TurnState message={message} />
          <ReadBy message={message} />
        </div>
      )}
    </li>
  );
});

interface ContentProps {
  readonly message: ChatEntry;
  readonly streaming: boolean;
  readonly title: string;
}

function Content({ message, streaming, title }: ContentProps) {
  const { role, content, parts, deleted } = message;
  const { marks } = useStrings();
  if (deleted) return <p className="message__deleted">{marks.deleted}</p>;
  if (role === 'USER') {
    if (content === '') return null; // Its files say it all.
    return (
      <div className="message__bubble" dir="auto" title={title} data-testid="message-text">
        <PlainText text={content} />
      </div>
    );
  }
  const shown = parts ?? [{ type: 'text', text: content, state: 'done' } as const];
  if (shown.length === 0) return null;
  return (
    <div className="message__bubble message__bubble--answer" dir="auto" title={title} data-testid="message-text">
      <AnswerParts parts={shown} streaming={streaming} />
    </div>
  );
}

function VersionSwitch({ versions: { number, count, show } }: { readonly versions: Versions }) {
  const { answer: words } = useStrings();
  return (
    <span className="versions" role="group" aria-label={words.versions} data-testid="versions">
      <button
        type="button"
        className="versions__step"
        aria-label={words.earlierVersion}
        disabled={number <= 1}
        onClick={() => show(number - 1)}
      >
        ‹
      </button>
      <span aria-live="polite">
        {number}/{count}
      </span>
      <button
        type="button"
        className="versions__step"
        aria-label={words.laterVersion}
        disabled={number >= count}
        onClick={() => show(number + 1)}
      >
        ›
      </button>
    </span>
  );
}
