/** One chat: its messages, typing line and composer. Remounted for each chat. */
import { useChat } from '@roomcast/react';

import { describeError } from '../errors.ts';
import { useStrings } from '../i18n/language.ts';
import { Notice } from '../shell/Notice.tsx';
import { Composer } from './Composer.tsx';
import { MessageList } from './MessageList.tsx';
import { Skeleton } from './Skeleton.tsx';
import { TypingLine } from './TypingLine.tsx';
import { useScrollAnchor } from './useScrollAnchor.ts';

interface Props {
  readonly chatId: string;
  readonly me: string;
  readonly online: boolean;
}

export function Conversation({ chatId, me, online }: Props) {
  const chat = useChat(chatId);
  const { conversation: words, errors } = useStrings();
  const [scroller, anchor] = useScrollAnchor(chat.messages, me);

  function send(content: string): void {
    // The promise is ignored: the message itself shows the outcome.
    void chat.sendMessage(content);
    anchor.scrollToEnd();
  }

  function body() {
    if (chat.status === 'error') {
      const reason = chat.error === null ? undefined : describeError(chat.error, errors);
      return (
        <Notice icon="alert" role="alert" title={words.failed} {...(reason === undefined ? {} : { text: reason })} />
      );
    }
    if (chat.messages.length > 0) {
      return (
        <MessageList
          messages={chat.messages}
          me={me}
          online={online}
          scroller={scroller}
          anchor={anchor}
          hasOlder={chat.hasOlder}
          olderFailed={chat.hasOlder && !chat.loadingOlder && chat.error !== null}
          loadOlder={chat.loadOlder}
          onRetry={chat.retry}
          onDiscard={chat.discard}
        />
      );
    }
    if (chat.status !== 'ready') return <Skeleton />;
    return <Notice icon="bubble" title={words.emptyTitle} text={words.emptyText} />;
  }

  return (
    <>
      <div className="conversation__body">{body()}</div>
      {/* A user without read access cannot write either. */}
      {chat.status !== 'error' && (
        <>
          <TypingLine userIds={chat.typingUsers} />
          <Composer userId={me} chatId={chatId} onSend={send} onTyping={chat.setTyping} />
        </>
      )}
    </>
  );
}
