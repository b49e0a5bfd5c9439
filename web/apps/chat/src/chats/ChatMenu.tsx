/** The menu of the open chat: rename, archive, leave, delete. */
import type { ChatSummary, RoomcastError, UseChatsResult } from '@roomcast/react';
import { type SubmitEvent, useRef, useState } from 'react';

import { describeError } from '../errors.ts';
import { useStrings } from '../i18n/language.ts';
import { ChatNotifications } from '../notifications/ChatNotifications.tsx';
import { useRights } from '../members/useRights.ts';
import { chatPath } from '../routing/route.ts';
import { HeaderPanel } from '../ui/HeaderPanel.tsx';
import { useCopy } from '../ui/useCopy.ts';

interface Props {
  readonly chat: ChatSummary;
  readonly me: string;
  readonly list: Pick<UseChatsResult, 'renameChat' | 'archiveChat' | 'deleteChat' | 'leaveChat' | 'refresh'>;
  /** Called after the chat has left the list. */
  readonly onGone: () => void;
}

export function ChatMenu({ chat, me, list, onGone }: Props) {
  const { chatMenu: words, chats, notifications, errors } = useStrings();
  const rights = useRights(chat.id, me);
  const panel = useRef<HTMLDivElement>(null);
  const [copied, copy] = useCopy(new URL(chatPath(chat.id), window.location.origin).href);
  const [asked, setAsked] = useState<'rename' | 'leave' | 'delete' | 'notifications' | null>(null);
  const [failure, setFailure] = useState<RoomcastError | null>(null);

  function run(change: Promise<void>, after?: () => void): void {
    setFailure(null);
    change.then(() => {
      panel.current?.hidePopover();
      after?.();
    }, setFailure);
  }

  function rename(event: SubmitEvent<HTMLFormElement>): void {
    event.preventDefault();
    const title = (new FormData(event.currentTarget).get('title') as string).trim();
    run(list.renameChat(chat.id, title || null));
  }

  return (
    <HeaderPanel
      title={words.title}
      icon="more"
      testId="chat-menu"
      className="chat-menu"
      panel={panel}
      onToggle={() => {
        setAsked(null);
        setFailure(null);
      }}
    >
      {asked === 'rename' ? (
        <form className="ai-settings__form" onSubmit={rename}>
          <label className="field">
            <span className="field__label">{words.newTitle}</span>
            <input
              className="field__input"
              name="title"
              data-testid="rename-title"
              defaultValue={chat.title ?? ''}
              maxLength={200}
              autoFocus
            />
          </label>
          <button type="submit" className="button button--primary" data-testid="rename-save">
            {words.save}
          </button>
        </form>
      ) : asked === 'notifications' ? (
        <ChatNotifications chatId={chat.id} me={me} onChange={() => void list.refresh()} />
      ) : asked !== null ? (
        <div className="ai-settings__form" role="group" aria-label={words[`${asked}Question`]}>
          <p>{words[`${asked}Question`]}</p>
          <button
            type="button"
            className="button button--primary"
            data-testid="chat-confirm"
            autoFocus
            onClick={() => run(asked === 'leave' ? list.leaveChat(chat.id, me) : list.deleteChat(chat.id), onGone)}
          >
            {words[asked]}
          </button>
        </div>
      ) : (
        <ul className="chat-menu__items">
          <li>
            <button
              type="button"
              className="button button--quiet"
              data-testid="chat-notifications"
              onClick={() => setAsked('notifications')}
            >
              {notifications.title}
            </button>
          </li>
          {!chat.archived && rights.renames && (
            <li>
              <button
                type="button"
                className="button button--quiet"
                data-testid="chat-rename"
                onClick={() => setAsked('rename')}
              >
                {words.rename}
              </button>
            </li>
          )}
          {copy !== null && (
            <li>
              <button type="button" className="button button--quiet" data-testid="chat-copy" onClick={copy}>
                {copied ? chats.linkCopied : chats.copyLink}
              </button>
            </li>
          )}
          {rights.archives && (
            <li>
              <button
                type="button"
                className="button button--quiet"
                data-testid="chat-archive"
                onClick={() => run(list.archiveChat(chat.id, !chat.archived))}
              >
                {chat.archived ? words.unarchive : words.archive}
              </button>
            </li>
          )}
          <li>
            <button
              type="button"
              className="button button--quiet"
              data-testid="chat-leave"
              onClick={() => setAsked('leave')}
            >
              {words.leave}
            </button>
          </li>
          {rights.deletes && (
            <li>
              <button
                type="button"
                className="button button--quiet"
                data-testid="chat-delete"
                onClick={() => setAsked('delete')}
              >
                {words.delete}
              </button>
            </li>
          )}
        </ul>
      )}
      {failure !== null && (
        <p className="field__error" role="alert">
          {describeError(failure, errors)}
        </p>
      )}
    </HeaderPanel>
  );
}
