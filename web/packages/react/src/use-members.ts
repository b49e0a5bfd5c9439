/** The members of a chat. */
import { INITIAL_MEMBERS, type MembersSnapshot } from '@roomcast/client';
import { useSyncExternalStore } from 'react';
import { subscribeToNothing, useChatSession } from './use-chat-session.ts';

export type UseMembersResult = MembersSnapshot;

const getInitialMembers = (): MembersSnapshot => INITIAL_MEMBERS;

/**
 * The members of a chat with their roles and mutes, kept up to date while mounted. Components share one list.
 *
 * @param chatId - If null or undefined, no members are read.
 */
export function useMembers(chatId: string | null | undefined): UseMembersResult {
  const session = useChatSession(chatId);
  return useSyncExternalStore(
    session?.subscribeMembers ?? subscribeToNothing,
    session?.getMembers ?? getInitialMembers,
    getInitialMembers,
  );
}
