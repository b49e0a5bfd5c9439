/** One chat: its messages, typing line and composer. Remounted for each chat. */
import { type Attachment, type ChatEntry, useChat, useMembers, useReads, useRoomcastClient } from '@roomcast/react';
import { useCallback, useEffect, useMemo, useState } from 'react';

import { describeError } from '../errors.ts';
import { useStrings } from '../i18n/language.ts';
import { useBlocked } from '../members/useBlocked.ts';
import { useRights } from '../members/useRights.ts';
import { BASE_PATH } from '../routing/base.ts';
import { Notice } from '../shell/Notice.tsx';
import { Failure } from '../ui/Failure.tsx';
import { useAttempt } from '../ui/requests.ts';
import { usePageVisible } from '../ui/usePageVisible.ts';
import { type ChatActions, ChatActionsContext, LoadedMessages } from './actions.ts';
import { Composer } from './composer/Composer.tsx';
import { peopleOf } from './composer/mentions.ts';
import { MessageList } from './messages/MessageList.tsx';
import { Pins } from './messages/Pins.tsx';
import { RateLimitLine } from './composer/RateLimitLine.tsx';
import { receiptsOf, ReceiptsContext } from './messages/receipts.ts';
import { Skeleton } from './Skeleton.tsx';
import { ThreadBar } from './messages/ThreadBar.tsx';
import { ThreadsContext, useThreads } from './messages/threads.ts';
import { TypingLine } from './composer/TypingLine.tsx';
import { useShownMessage } from './messages/useShownMessage.ts';
import { useScrollAnchor } from './messages/useScrollAnchor.ts';
import { useDrop } from './composer/useDrop.ts';
import { useUploads } from './composer/useUploads.ts';

interface Props {
  readonly chatId: string;
  readonly me: string;
  readonly online: boolean;
  /** Whether the server accepts files. */
  readonly acceptsFiles: boolean;
  /** The chat is read-only. */
  readonly archived?: boolean;
  /** Called with the newest seq that is shown while the page is visible, and its epoch. */
  readonly onRead: (chatId: string, seq: number, epoch?: string) => void;
}

export function Conversation({ chatId, me, online, acceptsFiles, archived = false, onRead }: Props) {
  const chat = useChat(chatId);
  const { api } = useRoomcastClient();
  const visible = usePageVisible();
  const newest = chat.messages.reduce<ChatEntry | null>(
    (last, message) => ((message.seq ?? 0) > (last?.seq ?? 0) ? message : last),
    null,
  );
  const { seq: shown, epoch } = newest ?? { seq: null, epoch: undefined };
  const threads = useThreads(chat.messages);
  const [thread, setThread] = useState<string | null>(null);
  const listed =
    thread === null
      ? chat.messages
      : chat.messages.filter(({ id }) => id === thread || threads.rootOf.get(id) === thread);
  useEffect(() => {
    // A thread hides the other messages: they are not read.
    if (visible && shown !== null && thread === null) onRead(chatId, shown, epoch);
  }, [visible, chatId, shown, epoch, onRead, thread]);
  const { reads } = useReads(chat.status === 'ready' ? chatId : null);
  const receipts = useMemo(() => receiptsOf(chat.messages, reads, me), [chat.messages, reads, me]);
  const { conversation: words, chats: chatWords, errors, files, search } = useStrings();
  const blocked = useBlocked(chatId, me);
  const rights = useRights(chatId, me);
  const [scroller, anchor] = useScrollAnchor(listed, me);
  const [unreachable, showPlace] = useShownMessage(chat.status === 'ready', chat.messages, chat.loadTo);
  const [failure, attempt] = useAttempt();
  const [replied, setReplied] = useState<ChatEntry | null>(null);
  const { moderates } = rights;
  const writes = blocked === null && !archived;
  const { scrollToEnd } = anchor;
  const { retry, discard, sendMessage, stop, regenerate, edit, versions, react, pin, deleteMessage, fileUrl } = chat;
  const { members } = useMembers(chatId);
  const uploads = useUploads(chat.uploadFile, chat.removeFile);
  const dropping = useDrop(acceptsFiles && writes && chat.status === 'ready' ? uploads.add : null);
  const actions = useMemo((): ChatActions => {
    return {
      retry,
      discard,
      resend: (message, content) => {
        discard(message.key);
        void sendMessage(content, message.replyTo ?? undefined, message.attachments);
      },
      versions,
      stop: (turnId) => void attempt(stop(turnId)),
      regenerate: (turnId) => void attempt(regenerate(turnId)),
      edit: (messageId, content, removed) => attempt(edit(messageId, content, removed)),
      me,
      fileUrl,
      react: (messageId, emoji, adds) => void attempt(react(messageId, emoji, adds)),
      pin: (messageId, adds) => void attempt(pin(messageId, adds)),
      remove: (messageId) => void attempt(deleteMessage(messageId)),
      report: rights.reports ? (messageId, reason) => attempt(api.reportMessage(chatId, messageId, { reason })) : null,
      reply: (message) => {
        setReplied(message);
        document.getElementById('composer')?.focus();
      },
      openThread: (messageId) => {
        setThread(messageId);
        setReplied(null);
        scrollToEnd();
      },
      show: async (message) => {
        let place: number | null = null;
        const find = async (): Promise<void> => {
          place = (typeof message === 'string' ? (await versions(message))[0] : message)?.place ?? null;
          if (place === null) return;
          setThread(null);
          showPlace(place);
        };
        await attempt(find());
        return place;
      },
      writes,
      deletes: (mine) => !archived && (mine || moderates),
    };
  }, [
    attempt,
    me,
    retry,
    discard,
    sendMessage,
    stop,
    regenerate,
    edit,
    versions,
    react,
    pin,
    deleteMessage,
    fileUrl,
    showPlace,
    writes,
    archived,
    moderates,
    rights.reports,
    api,
    chatId,
    scrollToEnd,
  ]);

  const root = chat.messages.find(({ id }) => id === thread)?.place ?? null;
  const closeThread = useCallback(() => {
    setThread(null);
    if (root !== null) showPlace(root);
  }, [root, showPlace]);

  function send(content: string, attachments: readonly Attachment[]): void {
    // The message itself shows the outcome; the failure of an earlier action goes.
    void attempt(chat.sendMessage(content, replied?.id ?? thread, attachments));
    setReplied(null);
    scrollToEnd();
  }

  function body() {
    if (chat.status === 'error') {
      const reason = chat.error === null ? undefined : describeError(chat.error, errors);
      return (
        <div id="composer" className="conversation__body" tabIndex={-1}>
          <Notice icon="alert" role="alert" title={words.failed} {...(reason === undefined ? {} : { text: reason })}>
            <a className="button button--primary" href={BASE_PATH}>
              {chatWords.toFirst}
            </a>
          </Notice>
        </div>
      );
    }
    if (chat.messages.length > 0) {
      return (
        <LoadedMessages value={chat.messages}>
          <ThreadsContext value={threads}>
            <ReceiptsContext value={receipts}>
              <MessageList
                messages={listed}
                me={me}
                online={online}
                scroller={scroller}
                anchor={anchor}
                hasOlder={chat.hasOlder && thread === null}
                olderFailed={chat.hasOlder && !chat.loadingOlder && chat.error !== null}
                loadOlder={chat.loadOlder}
              />
            </ReceiptsContext>
          </ThreadsContext>
        </LoadedMessages>
      );
    }
    if (chat.status !== 'ready') return <Skeleton />;
    return <Notice icon="bubble" title={words.emptyTitle} text={words.emptyText} />;
  }

  return (
    <ChatActionsContext.Provider value={actions}>
      {chat.status === 'ready' && <Pins messages={chat.messages} read={chat.pins} />}
      {thread !== null && <ThreadBar replies={threads.sizes.get(thread) ?? 0} onClose={closeThread} />}
      <div className="conversation__body">{body()}</div>
      {dropping && (
        <p className="drop-hint" role="status" data-testid="drop-hint">
          {files.drop}
        </p>
      )}
      {/* A user without read access cannot write either. */}
      {archived && (
        <p id="composer" className="archived-note" tabIndex={-1}>
          {chatWords.archivedNote}
        </p>
      )}
      {chat.status !== 'error' && !archived && (
        <>
          <TypingLine userIds={chat.typingUsers} />
          {chat.sendsAgainAt !== null && <RateLimitLine sendsAgainAt={chat.sendsAgainAt} />}
          {unreachable && (
            <p className="failure" role="status">
              {search.unreachable}
            </p>
          )}
          <Failure error={failure} className="failure" />
          {blocked !== null ? (
            <div className="composer">
              <p id="composer" className="composer__blocked" role="status" tabIndex={-1} data-testid="blocked">
                {blocked}
              </p>
            </div>
          ) : (
            <Composer
              userId={me}
              chatId={chatId}
              people={peopleOf(chat.messages, chat.presence.online, members?.map(({ userId }) => userId) ?? [], me)}
              onSend={send}
              uploads={acceptsFiles ? uploads : null}
              onTyping={chat.setTyping}
              replyTo={replied}
              onCancelReply={() => setReplied(null)}
              onStop={chat.activeTurn === null ? null : () => actions.stop(chat.activeTurn?.id ?? '')}
            />
          )}
        </>
      )}
    </ChatActionsContext.Provider>
  );
}
