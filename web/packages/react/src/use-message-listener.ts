/** New messages as calls, never as state: React would batch two of them into one. */
import type { ChatMessage } from '@roomcast/client';
import { useEffect } from 'react';
import { useRoomcastClient } from './provider.ts';
import { useLatest } from './use-latest.ts';

/** Calls the handler of the last render with each new message of every joined chat, once and in order. */
export function useMessageListener(handler: (message: ChatMessage) => void): void {
  const client = useRoomcastClient();
  const latest = useLatest(handler);
  useEffect(() => client.on('new-msg', (message) => latest.current(message)), [client, latest]);
}
