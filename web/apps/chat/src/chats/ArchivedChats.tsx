/** The archived chats, read when the section is opened. */
import type { ChatSummary, RoomcastError } from '@roomcast/react';
import { useState } from 'react';

import { describeError } from '../errors.ts';
import { useStrings } from '../i18n/language.ts';
import { ChatItem } from './ChatItem.tsx';
import { titleOf } from './titles.ts';

interface Props {
  readonly read: () => Promise<readonly ChatSummary[]>;
  readonly activeId: string | null;
  readonly me: string;
  readonly onOpen: () => void;
}

export function ArchivedChats({ read, activeId, me, onOpen }: Props) {
  const { chats: words, errors } = useStrings();
  const [chats, setChats] = useState<readonly ChatSummary[] | null>(null);
  const [failure, setFailure] = useState<RoomcastError | null>(null);

  function load(open: boolean): void {
    setFailure(null);
    if (open) read().then(setChats, setFailure);
  }

  return (
    <details className="archived" onToggle={(event) => load(event.currentTarget.open)}>
      <summary data-testid="archived">{words.archived}</summary>
      <ul data-testid="archived-list" aria-label={words.archived}>
        {chats?.map((chat) => (
          <ChatItem
            key={chat.id}
            chatId={chat.id}
            title={titleOf(chat, words, me)}
            active={chat.id === activeId}
            unread={0}
            mentions={0}
            preview=""
            time={null}
            onOpen={onOpen}
          />
        ))}
      </ul>
      {chats?.length === 0 && <p className="archived__none">{words.noArchived}</p>}
      {failure !== null && <p role="alert">{describeError(failure, errors)}</p>}
    </details>
  );
}
