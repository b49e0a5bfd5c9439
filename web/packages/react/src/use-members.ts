/** The members of a chat, read again whenever an event changes them. */
import { type contract, INITIAL_CHAT, type RoomcastError } from '@roomcast/client';
import { useEffect, useState, useSyncExternalStore } from 'react';
import { useRoomcastClient } from './provider.ts';
import { subscribeToNothing, useChatSession } from './use-chat-session.ts';

export interface UseMembersResult {
  /** Ascending by user id, at most 1,000; null before the first result. */
  members: readonly contract.Member[] | null;
  /** Why the last read failed; `members` is the result before it then. */
  error: RoomcastError | null;
}

const NONE: UseMembersResult = { members: null, error: null };
const getNoChanges = (): number => INITIAL_CHAT.memberChanges;

/**
 * Reads the members of a chat with their roles and mutes, and follows the chat while mounted.
 *
 * @param chatId - If null or undefined, no members are read.
 */
export function useMembers(chatId: string | null | undefined): UseMembersResult {
  const client = useRoomcastClient();
  const session = useChatSession(chatId);
  const changes = useSyncExternalStore(
    session?.subscribe ?? subscribeToNothing,
    session === null ? getNoChanges : () => session.getSnapshot().memberChanges,
    getNoChanges,
  );
  const [read, setRead] = useState<{ chatId: string | null; result: UseMembersResult }>({ chatId: null, result: NONE });
  useEffect(() => {
    if (!chatId) return undefined;
    let current = true;
    const set = (result: Partial<UseMembersResult>): void => {
      if (!current) return;
      setRead((before) => ({ chatId, result: { ...(before.chatId === chatId ? before.result : NONE), ...result } }));
    };
    client.api.listMembers(chatId).then(
      ({ members }) => set({ members, error: null }),
      (error: unknown) => set({ error: error as RoomcastError }),
    );
    return () => {
      current = false;
    };
  }, [client, chatId, changes]);
  return read.chatId === chatId ? read.result : NONE;
}
