/** Passes new messages to a callback. With state, React could batch several messages into one render. */
import type { ChatMessage } from '@roomcast/client';
import { useEffect } from 'react';
import { useRoomcastClient } from './provider.ts';
import { useLatest } from './use-latest.ts';

/** Calls the latest handler for each new message of all joined chats, once, and in order of seq per chat. */
export function useMessageListener(handler: (message: ChatMessage) => void): void {
  const client = useRoomcastClient();
  const latest = useLatest(handler);
  useEffect(() => client.on('new-msg', (message) => latest.current(message)), [client, latest]);
}
