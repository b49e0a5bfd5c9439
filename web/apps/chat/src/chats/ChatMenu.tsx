/** The menu of the open chat: notifications, rename, archive, retention, leave, delete. */
import { type ChatSummary, type UseChatsResult, useRoomcastClient } from '@roomcast/react';
import { type SubmitEvent, useState } from 'react';

import { useStrings } from '../i18n/language.ts';
import { ChatNotifications } from '../notifications/ChatNotifications.tsx';
import { useRights } from '../members/useRights.ts';
import { chatPath } from '../routing/route.ts';
import { Failure } from '../ui/Failure.tsx';
import { Icon } from '../ui/Icon.tsx';
import { Panel } from '../ui/Panel.tsx';
import { useAttempt } from '../ui/requests.ts';
import { useCopy } from '../ui/useCopy.ts';
import { Retention } from './Retention.tsx';

interface Props {
  readonly chat: ChatSummary;
  readonly me: string;
  readonly list: Pick<UseChatsResult, 'renameChat' | 'archiveChat' | 'deleteChat' | 'leaveChat' | 'refresh'>;
  /** Called after the chat has left the list. */
  readonly onGone: () => void;
}

export function ChatMenu(props: Props) {
  const { chatMenu: words } = useStrings();
  return (
    <Panel title={words.title} face={<Icon name="more" />} testId="chat-menu">
      {(close) => <Menu {...props} close={close} />}
    </Panel>
  );
}

function Menu({ chat, me, list, onGone, close }: Props & { readonly close: () => void }) {
  const { chatMenu: words, chats, notifications } = useStrings();
  const { api } = useRoomcastClient();
  const rights = useRights(chat.id, me);
  const [copied, copy] = useCopy(new URL(chatPath(chat.id), window.location.origin).href);
  const [asked, setAsked] = useState<'rename' | 'retention' | 'leave' | 'delete' | 'notifications' | null>(null);
  const [failure, attempt] = useAttempt();

  function run(change: Promise<void>, after?: () => void): void {
    void attempt(change).then((succeeded) => {
      if (!succeeded) return;
      close();
      after?.();
    });
  }

  function rename(event: SubmitEvent<HTMLFormElement>): void {
    event.preventDefault();
    const title = (new FormData(event.currentTarget).get('title') as string).trim();
    run(list.renameChat(chat.id, title || null));
  }

  function item(name: string, label: string, onClick: () => void) {
    return (
      <li>
        <button type="button" className="button button--quiet" data-testid={`chat-${name}`} onClick={onClick}>
          {label}
        </button>
      </li>
    );
  }

  function content() {
    switch (asked) {
      case null:
        return (
          <ul className="chat-menu__items">
            {item('notifications', notifications.title, () => setAsked('notifications'))}
            {!chat.archived && rights.renames && item('rename', words.rename, () => setAsked('rename'))}
            {copy !== null && item('copy', copied ? chats.linkCopied : chats.copyLink, copy)}
            {rights.archives &&
              item('archive', chat.archived ? words.unarchive : words.archive, () =>
                run(list.archiveChat(chat.id, !chat.archived)),
              )}
            {(rights.deletes || chat.direct !== null) &&
              item('retention', words.retention, () => setAsked('retention'))}
            {item('leave', words.leave, () => setAsked('leave'))}
            {rights.deletes && item('delete', words.delete, () => setAsked('delete'))}
          </ul>
        );
      case 'rename':
        return (
          <form className="panel__form" onSubmit={rename}>
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
        );
      case 'notifications':
        return <ChatNotifications chatId={chat.id} me={me} onChange={() => void list.refresh()} />;
      case 'retention':
        return <Retention chatId={chat.id} onSave={(days) => run(api.setRetention(chat.id, days))} />;
      case 'leave':
      case 'delete':
        return (
          <div className="panel__form" role="group" aria-label={words[`${asked}Question`]}>
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
        );
    }
  }

  return (
    <>
      {content()}
      <Failure error={failure} />
    </>
  );
}
