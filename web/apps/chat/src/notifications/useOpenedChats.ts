/** Opens the chat of a notification that was clicked while the page is open: the service worker names it. */
import { useEffect } from 'react';

import { openChat } from '../routing/route.ts';

export function useOpenedChats(): void {
  useEffect(() => {
    if (!('serviceWorker' in navigator)) return undefined;
    const open = ({ data }: MessageEvent<{ type?: string; chatId?: string } | null>): void => {
      if (data?.type === 'open-chat' && data.chatId !== undefined) openChat(data.chatId);
    };
    navigator.serviceWorker.addEventListener('message', open);
    return () => navigator.serviceWorker.removeEventListener('message', open);
  }, []);
}
