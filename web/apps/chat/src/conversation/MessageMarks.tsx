/** What members do to a stored message: reactions, reply, pin, delete. */
import type { ChatEntry } from '@roomcast/react';
import { useContext, useState } from 'react';

import { useStrings } from '../i18n/language.ts';
import { LoadedMessages, useChatActions } from './actions.ts';
import { ThreadsContext } from './threads.ts';

/** The emoji that the page offers. A message shows any other that a client sends, too. */
const EMOJI = ['👍', '❤️', '😂', '🎉', '😮', '🙏'];

interface Props {
  readonly message: ChatEntry;
  readonly mine: boolean;
}

/** The reactions, each a button that adds or takes back the user's own. */
export function Reactions({ message }: { readonly message: ChatEntry }) {
  const { marks: words } = useStrings();
  const { me, react } = useChatActions();
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
              aria-label={words.reactedWith(emoji, userIds.join(', '))}
              title={userIds.join(', ')}
              onClick={() => react(message.id, emoji, !own)}
            >
              <span aria-hidden="true">
                {emoji} {userIds.length}
              </span>
            </button>
          </li>
        );
      })}
    </ul>
  );
}

/** The buttons below a message. */
export function MarkButtons({ message, mine }: Props) {
  const { marks: words } = useStrings();
  const { me, react, reply, pin, remove } = useChatActions();
  const [open, setOpen] = useState<'emoji' | 'delete' | null>(null);
  const toggle = (part: 'emoji' | 'delete'): void => setOpen(open === part ? null : part);
  const action = 'link message__action';
  return (
    <>
      <button
        type="button"
        className={action}
        data-testid="react"
        aria-expanded={open === 'emoji'}
        onClick={() => toggle('emoji')}
      >
        {words.react}
      </button>
      <button type="button" className={action} data-testid="reply" onClick={() => reply(message)}>
        {words.reply}
      </button>
      <button
        type="button"
        className={action}
        data-testid="pin"
        aria-pressed={message.pinned}
        onClick={() => pin(message.id, !message.pinned)}
      >
        {message.pinned ? words.unpin : words.pin}
      </button>
      {mine && (
        <button
          type="button"
          className={action}
          data-testid="delete"
          aria-expanded={open === 'delete'}
          onClick={() => toggle('delete')}
        >
          {words.delete}
        </button>
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
                onClick={() => {
                  react(message.id, emoji, !own);
                  setOpen(null);
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
            onClick={() => {
              remove(message.id);
              setOpen(null);
            }}
          >
            {words.delete}
          </button>
          <button type="button" className="link" onClick={() => setOpen(null)}>
            {words.cancel}
          </button>
        </span>
      )}
    </>
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

/** The message that a message replies to: a link to it while it is loaded. */
export function Quote({ messageId }: { readonly messageId: string }) {
  const { marks: words, conversation } = useStrings();
  const { show } = useChatActions();
  const original = useContext(LoadedMessages).find(({ id }) => id === messageId);
  if (original === undefined) return <p className="quote">{words.earlierMessage}</p>;
  const author = original.userId ?? (original.role === 'AI' ? conversation.ai : conversation.someone);
  const text = original.deleted ? words.deleted : original.content;
  return (
    <button type="button" className="quote" data-testid="quote" onClick={() => show(original.id)}>
      <bdi className="quote__author">{author}</bdi> <span dir="auto">{text}</span>
    </button>
  );
}
