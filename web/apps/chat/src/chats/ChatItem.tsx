/** A chat in the chat list: a link with the title, the newest message and the numbers of unread messages. */
import { memo, useEffect, useRef } from 'react';

import { useFormats, useStrings } from '../i18n/language.ts';
import { ChatLink } from '../routing/ChatLink.tsx';
import { colourOf } from '../ui/Avatar.tsx';
import { Icon } from '../ui/Icon.tsx';

const MAX_SHOWN = 99;

interface Props {
  readonly chatId: string;
  readonly title: string;
  readonly active: boolean;
  readonly unread: number;
  readonly mentions: number;
  /** Nothing notifies the user of this chat. */
  readonly muted?: boolean;
  /** The beginning of the newest message, on one line. */
  readonly preview: string;
  /** Time of the newest message in milliseconds; null without messages. */
  readonly time: number | null;
  readonly onOpen: () => void;
}

export const ChatItem = memo(function ChatItem(props: Props) {
  const { chatId, title, active, unread, mentions, muted = false, preview, time, onOpen } = props;
  const { chats: words, notifications } = useStrings();
  const formats = useFormats();
  const item = useRef<HTMLLIElement>(null);
  useEffect(() => {
    // A chat that was opened by its address may be far down.
    if (active) item.current?.scrollIntoView({ block: 'nearest' });
  }, [active]);
  return (
    <li ref={item}>
      <ChatLink
        className={active ? 'chat-item chat-item--active' : 'chat-item'}
        data-testid="chat-item"
        data-chat-id={chatId}
        data-unread={unread > 0}
        aria-current={active ? 'page' : undefined}
        chatId={chatId}
        onOpen={onOpen}
      >
        <span className={`chat-item__mark avatar--${colourOf(chatId)}`} aria-hidden="true">
          #
        </span>
        <span className="chat-item__text">
          <span className="chat-item__line">
            <span className="chat-item__title" dir="auto">
              {title}
            </span>
            {muted && (
              <span className="chat-item__muted" title={notifications.muted}>
                <Icon name="bellOff" />
                <span className="visually-hidden">{notifications.muted}</span>
              </span>
            )}
            {time !== null && <time className="chat-item__time">{formats.short(new Date(time), new Date())}</time>}
          </span>
          {(preview !== '' || unread > 0) && (
            <span className="chat-item__line">
              <span className="chat-item__preview" dir="auto">
                {preview}
              </span>
              {mentions > 0 && (
                <span className="badge badge--mention">
                  <span aria-hidden="true">@</span>
                  <span className="visually-hidden">{words.mentions(mentions)}</span>
                </span>
              )}
              {unread > 0 && (
                <span className="badge" data-testid="unread">
                  <span aria-hidden="true">{unread > MAX_SHOWN ? `${MAX_SHOWN}+` : unread}</span>
                  <span className="visually-hidden">{words.unread(unread)}</span>
                </span>
              )}
            </span>
          )}
        </span>
      </ChatLink>
    </li>
  );
});
