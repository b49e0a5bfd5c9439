/** The session of a chat, and an empty subscription for hooks without a chat. */
import type { ChatSession } from '@roomcast/client';
import { useMemo } from 'react';
import { useRoomcastClient } from './provider.ts';

/** The session; null without a chat id. */
export function useChatSession(chatId: string | null | undefined): ChatSession | null {
  const client = useRoomcastClient();
  return useMemo(() => (chatId ? client.chat(chatId) : null), [client, chatId]);
}

/** A `subscribe` function for `useSyncExternalStore` whose store never changes. */
export const subscribeToNothing = (): (() => void) => () => undefined;
