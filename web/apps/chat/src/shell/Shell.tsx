/** The page after sign-in: the sidebar with the chat list, and one conversation. */
import { useChats } from '@roomcast/react';
import { useEffect, useId } from 'react';

import { ArchivedChats } from '../chats/ArchivedChats.tsx';
import { ChatList } from '../chats/ChatList.tsx';
import { ChatMenu } from '../chats/ChatMenu.tsx';
import { NewChat } from '../chats/NewChat.tsx';
import { titleOf } from '../chats/titles.ts';
import { useChatListPolling } from '../chats/useChatListPolling.ts';
import { ConnectionBanner } from '../connection/ConnectionBanner.tsx';
import { useConnectionDisplay } from '../connection/connection.ts';
import { Conversation } from '../conversation/Conversation.tsx';
import { useStrings } from '../i18n/language.ts';
import { identity } from '../identity/identity.ts';
import { signOut } from '../identity/signOut.ts';
import { Join } from '../members/Join.tsx';
import { NotificationSettings } from '../notifications/NotificationSettings.tsx';
import { useDevice } from '../notifications/useDevice.ts';
import { useOpenedChats } from '../notifications/useOpenedChats.ts';
import { usePageNotifications } from '../notifications/usePageNotifications.ts';
import { BASE_PATH } from '../routing/base.ts';
import { LOBBY, openChat, openHome, parsePath, redirectToChat, usePath } from '../routing/route.ts';
import { Search } from '../search/Search.tsx';
import { Header } from './Header.tsx';
import { Notice } from './Notice.tsx';
import { Sidebar } from './Sidebar.tsx';
import { StorageNotice } from './StorageNotice.tsx';
import { useDrawer } from './useDrawer.ts';

interface Props {
  readonly userId: string;
  /** True if the server requires access tokens. */
  readonly authEnabled: boolean;
  /** Users sign in at the identity provider. */
  readonly signIn: boolean;
  /** The public key of the server for pushes; null: it sends none. */
  readonly pushKey: string | null;
  /** Whether the server accepts files. */
  readonly acceptsFiles: boolean;
}

export function Shell({ userId, authEnabled, signIn, pushKey, acceptsFiles }: Props) {
  const words = useStrings();
  const route = parsePath(usePath());
  const list = useChats({ include: route.name === 'chat' ? route.chatId : null });
  useChatListPolling(list.refresh, !authEnabled);
  // With authentication, users are not members of the lobby by default, so the most recent chat is opened instead.
  const homeChatId = authEnabled ? (list.chats[0]?.id ?? null) : LOBBY;
  const chatId = route.name === 'chat' ? route.chatId : route.name === 'home' ? homeChatId : null;
  const connection = useConnectionDisplay();
  const device = useDevice(userId, pushKey);
  usePageNotifications(list.chats, userId, device.state);
  useOpenedChats();
  const drawer = useDrawer();
  const sidebarId = useId();

  const open = list.chats.find((chat) => chat.id === chatId);
  function currentTitle(): string {
    if (chatId !== null) return titleOf(open ?? { id: chatId, title: null }, words.chats, userId);
    if (route.name === 'join') return words.members.inviteLink;
    return route.name === 'home' ? words.chats.title : words.chats.notFoundTitle;
  }
  const title = currentTitle();

  useEffect(() => {
    if (route.name === 'home' && homeChatId !== null) redirectToChat(homeChatId);
  }, [route.name, homeChatId]);

  // Of the open chat only while the page is hidden; it is read otherwise.
  const unread = list.chats.reduce((sum, chat) => sum + chat.unread, 0);
  useEffect(() => {
    document.title = `${unread > 0 ? `(${unread}) ` : ''}${title} · ${words.app.name}`;
  }, [title, unread, words.app.name]);

  // The banner shows a temporary failure; the list keeps its last state.
  const failure = list.error?.retryable === true && list.chats.length > 0 ? null : list.error;

  async function createChat(newTitle: string): Promise<void> {
    const chat = await list.createChat({ title: newTitle });
    openChat(chat.id);
    drawer.hide();
  }

  return (
    <div className={drawer.open ? 'shell shell--drawer' : 'shell'}>
      {chatId !== null && (
        <a className="skip" href="#composer">
          {words.app.skipToComposer}
        </a>
      )}
      <Sidebar
        id={sidebarId}
        name={userId}
        authEnabled={authEnabled}
        hidden={drawer.hidden}
        onClose={drawer.hide}
        onSignOut={() => void signOut(userId, words.identity, signIn)}
        settings={<NotificationSettings me={userId} device={device} onChange={() => void list.refresh()} />}
      >
        <Search chats={list.chats} chatId={chatId} me={userId} onOpen={drawer.hide} />
        <NewChat onCreate={createChat} />
        <ChatList
          chats={list.chats.filter(({ archived }) => !archived)}
          failure={failure}
          loading={list.status === 'idle' || (list.status === 'loading' && list.chats.length === 0)}
          hasMore={list.hasMore}
          // An archived chat has its place in the list below.
          activeId={open?.archived ? null : chatId}
          homeId={authEnabled ? null : LOBBY}
          me={userId}
          onMore={() => void list.loadMore()}
          onRetry={() => void list.refresh()}
          onOpen={drawer.hide}
        />
        <ArchivedChats
          key={String(open?.archived)}
          read={list.listArchived}
          activeId={chatId}
          me={userId}
          onOpen={drawer.hide}
        />
      </Sidebar>
      <div className="scrim" onClick={drawer.hide} aria-hidden="true" />
      <main className="conversation" inert={drawer.open}>
        <Header
          title={title}
          connection={connection.state}
          chatId={chatId}
          me={userId}
          sidebarId={sidebarId}
          sidebarOpen={drawer.open}
          opener={drawer.opener}
          onOpenSidebar={drawer.show}
        >
          {open !== undefined && <ChatMenu key={open.id} chat={open} me={userId} list={list} onGone={openHome} />}
        </Header>
        <ConnectionBanner connection={connection} onSignIn={identity.removeToken} />
        <StorageNotice />
        {chatId !== null ? (
          <Conversation
            key={chatId}
            chatId={chatId}
            me={userId}
            online={connection.state === 'connected'}
            acceptsFiles={acceptsFiles}
            archived={open?.archived === true}
            onRead={list.markRead}
          />
        ) : route.name === 'join' ? (
          <Join key={route.token} token={route.token} onJoin={() => void list.refresh()} />
        ) : route.name === 'home' ? (
          list.status === 'ready' && <Notice icon="bubble" title={words.chats.empty} text={words.chats.emptyText} />
        ) : (
          <Notice icon="link" title={words.chats.notFoundTitle} text={words.chats.notFoundText}>
            <a className="button button--primary" href={BASE_PATH}>
              {words.chats.toFirst}
            </a>
          </Notice>
        )}
      </main>
    </div>
  );
}
