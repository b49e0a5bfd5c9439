/** Separate subscriptions to presence and typing, so that components render only for the state that they use. */
import { INITIAL_PRESENCE, type PresenceSnapshot } from '@roomcast/client';
import { useSyncExternalStore } from 'react';
import { subscribeToNothing, useChatSession } from './use-chat-session.ts';

const NO_USERS: readonly string[] = [];
const getInitialPresence = (): PresenceSnapshot => INITIAL_PRESENCE;
const getNoUsers = (): readonly string[] => NO_USERS;

/**
 * Online users of a chat, including the current user. Follows the chat while mounted, without loading it.
 *
 * @param chatId - If null or undefined, the result is empty.
 */
export function usePresence(chatId: string | null | undefined): PresenceSnapshot {
  const session = useChatSession(chatId);
  return useSyncExternalStore(
    session?.subscribePresence ?? subscribeToNothing,
    session?.getPresence ?? getInitialPresence,
    getInitialPresence,
  );
}

/**
 * Ids of other users who are typing, in the order in which they started. Follows the chat while mounted, without
 * loading it.
 *
 * @param chatId - If null or undefined, the result is empty.
 */
export function useTyping(chatId: string | null | undefined): readonly string[] {
  const session = useChatSession(chatId);
  return useSyncExternalStore(
    session?.subscribeTyping ?? subscribeToNothing,
    session?.getTyping ?? getNoUsers,
    getNoUsers,
  );
}
