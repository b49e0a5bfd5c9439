/** The chat list, newest activity first; always includes the open chat and the home chat. */
import type { ChatSummary, RoomcastError } from '@roomcast/react';

import { describeError } from '../errors.ts';
import { useStrings } from '../i18n/language.ts';
import { toTitle } from '../text/input.ts';
import { summaryOf } from '../text/summary.ts';
import { ChatItem } from './ChatItem.tsx';
import { titleOf } from './titles.ts';

interface Props {
  readonly chats: readonly ChatSummary[];
  readonly failure: RoomcastError | null;
  readonly loading: boolean;
  readonly hasMore: boolean;
  readonly activeId: string | null;
  /** A chat that is always listed; null if there is none. */
  readonly homeId: string | null;
  readonly me: string;
  readonly onMore: () => void;
  readonly onRetry: () => void;
  readonly onOpen: () => void;
}

export function ChatList(props: Props) {
  const { chats, failure, loading, hasMore, activeId, homeId, me, onMore, onRetry, onOpen } = props;
  const { chats: words, app, errors } = useStrings();
  // The open chat and the home chat, if the loaded pages do not contain them.
  const unlisted = [...new Set([activeId, homeId])].filter(
    (id): id is string => id !== null && !loading && !chats.some((chat) => chat.id === id),
  );
  return (
    <nav className="chat-list" aria-label={words.title}>
      <ul data-testid="chat-list" aria-busy={loading}>
        {unlisted.map((id) => (
          <ChatItem
            key={id}
            chatId={id}
            title={titleOf({ id, title: null }, words)}
            active={id === activeId}
            unread={0}
            mentions={0}
            preview=""
            time={null}
            onOpen={onOpen}
          />
        ))}
        {chats.map((chat) => (
          <ChatItem
            key={chat.id}
            chatId={chat.id}
            title={titleOf(chat, words, me)}
            active={chat.id === activeId}
            unread={chat.id === activeId ? 0 : chat.unread}
            mentions={chat.id === activeId ? 0 : chat.mentions}
            muted={chat.notify === 'none'}
            preview={toTitle(summaryOf(chat.preview ?? '', chat.previewFile))}
            time={chat.lastMessage?.time.getTime() ?? null}
            onOpen={onOpen}
          />
        ))}
      </ul>
      {loading && (
        <div className="skeleton skeleton--list" role="status" aria-label={app.loading}>
          <span className="skeleton__line" />
          <span className="skeleton__line" />
          <span className="skeleton__line" />
        </div>
      )}
      {failure !== null && (
        <p className="chat-list__failure" role="alert">
          {words.failed} {describeError(failure, errors)}{' '}
          <button type="button" className="link" onClick={onRetry}>
            {app.tryAgain}
          </button>
        </p>
      )}
      {hasMore && (
        <button type="button" className="button button--quiet" data-testid="more-chats" onClick={onMore}>
          {words.more}
        </button>
      )}
    </nav>
  );
}
