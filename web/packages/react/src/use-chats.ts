/** Hook for the chat list. */
import { type ChatListSnapshot, type ChatSummary, INITIAL_CHAT_LIST } from '@roomcast/client';
import { useEffect, useSyncExternalStore } from 'react';
import { useRoomcastClient } from './provider.ts';
import { subscribeToNothing } from './use-chat-session.ts';

/** State and actions of `useChats`; the actions keep their identity between renders. */
export interface UseChatsResult extends ChatListSnapshot {
  /** Reads the next page. Never rejects: `error` holds a failure. */
  loadMore: () => Promise<void>;
  /** Reads the first page again. Never rejects: `error` holds a failure. */
  refresh: () => Promise<void>;
  /** Records that the user has read a chat up to the event with a seq and an epoch. A request that fails is repeated. */
  markRead: (chatId: string, seq: number, epoch?: string) => void;
  /** Creates a chat, with an `id` only while authentication is off; rejects with a `RoomcastError`. */
  createChat: (chat?: { id?: string; title?: string }) => Promise<ChatSummary>;
  /** Opens the direct chat of `me` and another user; any two users have one. Rejects with a `RoomcastError`. */
  openDirectChat: (userId: string, me: string) => Promise<ChatSummary>;
  /** Renames a chat; null removes its title. Rejects with a `RoomcastError`, like the next four. */
  renameChat: (chatId: string, title: string | null) => Promise<void>;
  /** Archives a chat for all members, which makes it read-only, or takes it back. */
  archiveChat: (chatId: string, archived: boolean) => Promise<void>;
  /** Deletes a chat with all its messages. */
  deleteChat: (chatId: string) => Promise<void>;
  /** Ends a membership, such as the user's own. */
  leaveChat: (chatId: string, userId: string) => Promise<void>;
  /** Reads the most recently active archived chats. */
  listArchived: () => Promise<readonly ChatSummary[]>;
}

const getInitialChatList = (): ChatListSnapshot => INITIAL_CHAT_LIST;

/**
 * Chats of the user, newest activity first; kept up to date while mounted.
 *
 * @param options - `skip: true` returns the initial state and sends no request. `include` is a chat to add to `chats` if
 *   the loaded pages do not contain it.
 */
export function useChats({
  skip = false,
  include,
}: { skip?: boolean; include?: string | null | undefined } = {}): UseChatsResult {
  const { chats } = useRoomcastClient();
  const snapshot = useSyncExternalStore(
    skip ? subscribeToNothing : chats.subscribe,
    skip ? getInitialChatList : chats.getSnapshot,
    getInitialChatList,
  );
  useEffect(() => (include && !skip ? chats.include(include) : undefined), [chats, include, skip]);
  const {
    loadMore,
    refresh,
    markRead,
    createChat,
    openDirectChat,
    renameChat,
    archiveChat,
    deleteChat,
    leaveChat,
    listArchived,
  } = chats;
  return {
    ...snapshot,
    loadMore,
    refresh,
    markRead,
    createChat,
    openDirectChat,
    renameChat,
    archiveChat,
    deleteChat,
    leaveChat,
    listArchived,
  };
}
