/** What members do to a stored message: reactions, reply, pin, delete. */
import type { ChatEntry } from '@roomcast/react';
import { type MouseEvent, useContext, useState } from 'react';

import { useStrings } from '../../i18n/language.ts';
import { summaryOf } from '../../text/summary.ts';
import { LoadedMessages, type ReportReason, useChatActions } from '../actions.ts';
import { ThreadsContext } from './threads.ts';

/** The emoji that the page offers. A message shows any other that a client sends, too. */
const EMOJI = ['👍', '❤️', '😂', '🎉', '😮', '🙏'];
const REASONS: readonly ReportReason[] = ['spam', 'abuse', 'illegal', 'other'];

interface Props {
  readonly message: ChatEntry;
  readonly mine: boolean;
  /** The message or a part of it has the focus: Tab leads to the buttons. */
  readonly focused: boolean;
  readonly onEdit: () => void;
}

/** The reactions, each a button that adds or takes back the user's own. */
export function Reactions({ message }: { readonly message: ChatEntry }) {
  const { marks: words } = useStrings();
  const { me, react, writes } = useChatActions();
  if (message.reactions.length === 0) return null;
  return (
    <ul className="reactions" aria-label={words.reactions}>
      {message.reactions.map(({ emoji, userIds }) => {
        const own = userIds.includes(me);
        return (
          <li key={emoji}>
            <button
              type="button"
              className="reaction"
              data-testid="reaction"
              aria-pressed={own}
              // Begins with the visible text, which speech input expects.
              aria-label={words.reactedWith(`${emoji} ${userIds.length}`, userIds.join(', '))}
              title={userIds.join(', ')}
              disabled={!writes}
              onClick={() => react(message.id, emoji, !own)}
            >
              {emoji} {userIds.length}
            </button>
          </li>
        );
      })}
    </ul>
  );
}

/** The buttons below a message. */
export function MarkButtons({ message, mine, focused, onEdit }: Props) {
  const { marks: words, answer } = useStrings();
  const { me, react, reply, pin, remove, report, writes, deletes } = useChatActions();
  const [open, setOpen] = useState<'emoji' | 'delete' | 'report' | null>(null);
  const [reported, setReported] = useState(false);
  const toggle = (part: 'emoji' | 'delete' | 'report'): void => setOpen(open === part ? null : part);
  // The chosen button is removed: the message keeps the focus.
  const close = ({ currentTarget }: MouseEvent): void => {
    currentTarget.closest<HTMLElement>('[data-message-id]')?.focus();
    setOpen(null);
  };
  const deletable = deletes(mine);
  const reportable = report !== null && !mine;
  if (!writes && !deletable && !reportable) return null;
  const button = { type: 'button', className: 'link message__action', tabIndex: focused ? 0 : -1 } as const;
  return (
    <div className="message__actions">
      {writes && (
        <>
          <button {...button} data-testid="react" aria-expanded={open === 'emoji'} onClick={() => toggle('emoji')}>
            {words.react}
          </button>
          <button {...button} data-testid="reply" onClick={() => reply(message)}>
            {words.reply}
          </button>
          <button
            {...button}
            data-testid="pin"
            aria-pressed={message.pinned}
            onClick={() => pin(message.id, !message.pinned)}
          >
            {message.pinned ? words.unpin : words.pin}
          </button>
          {mine && (
            <button {...button} data-testid="edit" onClick={onEdit}>
              {answer.edit}
            </button>
          )}
        </>
      )}
      {deletable && (
        <button {...button} data-testid="delete" aria-expanded={open === 'delete'} onClick={() => toggle('delete')}>
          {words.delete}
        </button>
      )}
      {reportable && (
        <button {...button} data-testid="report" aria-expanded={open === 'report'} onClick={() => toggle('report')}>
          {reported ? words.reported : words.report}
        </button>
      )}
      {open === 'report' && reportable && (
        <span className="message__confirm" role="group" aria-label={words.reportQuestion}>
          <span>{words.reportQuestion}</span>
          {REASONS.map((reason) => (
            <button
              key={reason}
              type="button"
              className="link"
              data-testid={`report-${reason}`}
              onClick={(event) => {
                void report(message.id, reason).then(setReported);
                close(event);
              }}
            >
              {words.reasons[reason]}
            </button>
          ))}
        </span>
      )}
      {open === 'emoji' && (
        <span className="emoji-picker" role="group" aria-label={words.react}>
          {EMOJI.map((emoji) => {
            const own = message.reactions.some(({ emoji: other, userIds }) => other === emoji && userIds.includes(me));
            return (
              <button
                key={emoji}
                type="button"
                className="emoji-picker__choice"
                data-testid="emoji"
                aria-pressed={own}
                onClick={(event) => {
                  react(message.id, emoji, !own);
                  close(event);
                }}
              >
                {emoji}
              </button>
            );
          })}
        </span>
      )}
      {open === 'delete' && (
        <span className="message__confirm" role="group" aria-label={words.deleteQuestion}>
          <span>{words.deleteQuestion}</span>
          <button
            type="button"
            className="link"
            data-testid="delete-confirm"
            onClick={(event) => {
              remove(message.id);
              close(event);
            }}
          >
            {words.delete}
          </button>
          <button type="button" className="link" onClick={close}>
            {words.cancel}
          </button>
        </span>
      )}
    </div>
  );
}

/** The number of replies to a message; opens its thread. */
export function ThreadButton({ messageId }: { readonly messageId: string }) {
  const { marks: words } = useStrings();
  const { openThread } = useChatActions();
  const replies = useContext(ThreadsContext).sizes.get(messageId);
  if (replies === undefined) return null;
  return (
    <button type="button" className="link message__replies" data-testid="replies" onClick={() => openThread(messageId)}>
      {words.replies(replies)}
    </button>
  );
}

/** The message that a message replies to, as a link to it. */
export function Quote({ messageId }: { readonly messageId: string }) {
  const { marks: words, conversation } = useStrings();
  const { show } = useChatActions();
  const loaded = useContext(LoadedMessages);
  // An edited message has another id at the same place.
  const [place, setPlace] = useState<number | null>(null);
  const original = loaded.find((message) => message.id === messageId || (place !== null && message.place === place));
  if (original && original.place !== place) setPlace(original.place);
  function onClick(): void {
    void show(original ?? messageId).then((found) => found !== null && setPlace(found));
  }
  return (
    <button type="button" className="quote" data-testid="quote" onClick={onClick}>
      {original === undefined ? (
        words.earlierMessage
      ) : (
        <>
          <bdi className="quote__author">
            {original.userId ?? (original.role === 'AI' ? conversation.ai : conversation.someone)}
          </bdi>{' '}
          <span dir="auto">
            {original.deleted ? words.deleted : summaryOf(original.content, original.attachments[0]?.name)}
          </span>
        </>
      )}
    </button>
  );
}
