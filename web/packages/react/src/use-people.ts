/** Who of a chat is there, and who writes: each a slice of its own, so that neither renders what shows the other. */
import type { PresenceSnapshot } from '@roomcast/client';
import { useMemo, useSyncExternalStore } from 'react';
import { useRoomcastClient } from './provider.ts';

const UNKNOWN: PresenceSnapshot = { online: [], stale: true };
const NOBODY: readonly string[] = [];
const subscribeToNothing = (): (() => void) => () => undefined;
const getUnknown = (): PresenceSnapshot => UNKNOWN;
const getNobody = (): readonly string[] => NOBODY;

/**
 * Who is there, oneself included. Follows the chat while mounted, without loading it.
 *
 * @param chatId null: none yet
 */
export function usePresence(chatId: string | null | undefined): PresenceSnapshot {
  const client = useRoomcastClient();
  const session = useMemo(() => (chatId ? client.chat(chatId) : null), [client, chatId]);
  return useSyncExternalStore(
    session?.subscribePresence ?? subscribeToNothing,
    session?.getPresence ?? getUnknown,
    getUnknown,
  );
}

/**
 * Others who write at the moment, the longest first. Follows the chat while mounted, without loading it.
 *
 * @param chatId null: none yet
 */
export function useTyping(chatId: string | null | undefined): readonly string[] {
  const client = useRoomcastClient();
  const session = useMemo(() => (chatId ? client.chat(chatId) : null), [client, chatId]);
  return useSyncExternalStore(
    session?.subscribeTyping ?? subscribeToNothing,
    session?.getTyping ?? getNobody,
    getNobody,
  );
}
