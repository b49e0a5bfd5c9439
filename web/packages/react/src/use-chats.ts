/** The list of chats. */
import type { ChatListSnapshot, ChatSummary } from '@roomcast/client';
import { useSyncExternalStore } from 'react';
import { useRoomcastClient } from './provider.ts';

export interface UseChatsResult extends ChatListSnapshot {
  /** Reads the next page. Never rejects: see `error`. */
  loadMore: () => Promise<void>;
  /** Reads the first page again. Never rejects: see `error`. */
  refresh: () => Promise<void>;
  /** Creates a chat; rejects with a `RoomcastError`. */
  createChat: (chat?: { id?: string; title?: string }) => Promise<ChatSummary>;
}

const NOTHING: ChatListSnapshot = { chats: [], status: 'idle', error: null, hasMore: false };
const subscribeToNothing = (): (() => void) => () => undefined;
const getNothing = (): ChatListSnapshot => NOTHING;

/** Lists chats while mounted, newest activity first, and keeps the list up to date. */
export function useChats({ skip = false }: { skip?: boolean } = {}): UseChatsResult {
  const { chats } = useRoomcastClient();
  const snapshot = useSyncExternalStore(
    skip ? subscribeToNothing : chats.subscribe,
    skip ? getNothing : chats.getSnapshot,
    getNothing,
  );
  return { ...snapshot, loadMore: chats.loadMore, refresh: chats.refresh, createChat: chats.createChat };
}
