/** Header of the conversation: chat title, presence, connection state and a button that copies the link. */
import type { ReactNode, Ref } from 'react';

import { ConnectionIndicator } from '../connection/ConnectionIndicator.tsx';
import type { DisplayState } from '../connection/connection.ts';
import { AiSettings } from '../conversation/header/AiSettings.tsx';
import { PresenceMenu } from '../conversation/header/PresenceMenu.tsx';
import { useStrings } from '../i18n/language.ts';
import { MembersPanel } from '../members/MembersPanel.tsx';
import { Icon } from '../ui/Icon.tsx';
import { CopyLink } from './CopyLink.tsx';

interface Props {
  readonly title: string;
  readonly connection: DisplayState;
  readonly chatId: string | null;
  readonly me: string;
  readonly sidebarId: string;
  readonly sidebarOpen: boolean;
  readonly opener: Ref<HTMLButtonElement>;
  readonly onOpenSidebar: () => void;
  /** The menu of the chat. */
  readonly children?: ReactNode;
}

export function Header(props: Props) {
  const { title, connection, chatId, me, sidebarId, sidebarOpen, opener, onOpenSidebar, children } = props;
  const { chats: words } = useStrings();
  return (
    <header className="header">
      <button
        ref={opener}
        type="button"
        className="icon-button header__menu"
        data-testid="open-sidebar"
        aria-label={words.open}
        aria-controls={sidebarId}
        aria-expanded={sidebarOpen}
        onClick={onOpenSidebar}
      >
        <Icon name="menu" />
      </button>
      <h1 className="header__title" dir="auto" data-testid="chat-title">
        {title}
      </h1>
      {chatId !== null && <PresenceMenu key={`presence ${chatId}`} chatId={chatId} me={me} />}
      {chatId !== null && <MembersPanel key={`members ${chatId}`} chatId={chatId} me={me} />}
      <ConnectionIndicator state={connection} />
      {chatId !== null && <AiSettings key={`ai ${chatId}`} chatId={chatId} />}
      {chatId !== null && <CopyLink key={`link ${chatId}`} chatId={chatId} />}
      {children}
    </header>
  );
}
