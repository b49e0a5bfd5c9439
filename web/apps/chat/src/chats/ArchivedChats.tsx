/** The archived chats, read when the section is opened. */
import type { ChatSummary } from '@roomcast/react';
import { useState } from 'react';

import { useStrings } from '../i18n/language.ts';
import { Failure } from '../ui/Failure.tsx';
import { useLoaded } from '../ui/requests.ts';
import { ChatItem } from './ChatItem.tsx';
import { titleOf } from './titles.ts';

interface Props {
  readonly read: () => Promise<readonly ChatSummary[]>;
  readonly activeId: string | null;
  readonly me: string;
  readonly onOpen: () => void;
}

export function ArchivedChats({ read, activeId, me, onOpen }: Props) {
  const { chats: words } = useStrings();
  const [open, setOpen] = useState(false);
  const { value: chats, error } = useLoaded(read, open ? 'open' : null);

  return (
    <details className="archived" onToggle={(event) => setOpen(event.currentTarget.open)}>
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
      <Failure error={error} />
    </details>
  );
}
