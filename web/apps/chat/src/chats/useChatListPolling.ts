/**
 * Refreshes the chat list more often than the client does, while the page is visible, so that unread dots are current.
 *
 * Needed only without authentication: every user then sees every chat, but the gateway sends `chat-activity` only to
 * users who recently wrote in the chat. With authentication, the gateway sends it to every member.
 */
import { useEffect } from 'react';

const INTERVAL_MS = 5_000;

export function useChatListPolling(refresh: () => Promise<void>, enabled: boolean): void {
  useEffect(() => {
    if (!enabled) return;
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible') void refresh();
    }, INTERVAL_MS);
    return () => clearInterval(timer);
  }, [refresh, enabled]);
}
