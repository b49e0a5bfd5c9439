/** A chat in the chat list: a link with the title and an unread dot. */
import { memo, useEffect, useRef } from 'react';

import { useStrings } from '../i18n/language.ts';
import { ChatLink } from '../routing/ChatLink.tsx';
import { colourOf } from '../ui/Avatar.tsx';

interface Props {
  readonly chatId: string;
  readonly title: string;
  readonly active: boolean;
  readonly unread: boolean;
  readonly onOpen: () => void;
}

export const ChatItem = memo(function ChatItem({ chatId, title, active, unread, onOpen }: Props) {
  const { chats: words } = useStrings();
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
        data-unread={unread}
        aria-current={active ? 'page' : undefined}
        chatId={chatId}
        onOpen={onOpen}
      >
        <span className={`chat-item__mark avatar--${colourOf(chatId)}`} aria-hidden="true">
          #
        </span>
        <span className="chat-item__title" dir="auto">
          {title}
        </span>
        {unread && (
          <span className="chat-item__unread">
            <span className="visually-hidden">{words.unread}</span>
          </span>
        )}
      </ChatLink>
    </li>
  );
});
