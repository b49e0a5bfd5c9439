/**
 * Asks for the list of chats more often than the client does by itself, while somebody looks at it: what others write
 * elsewhere shows as a dot here. Gone once the gateway pushes it as `chat-activity`.
 */
import { useEffect } from 'react';

const EVERY_MS = 5_000;

export function useFreshChats(refresh: () => Promise<void>): void {
  useEffect(() => {
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible') void refresh();
    }, EVERY_MS);
    return () => clearInterval(timer);
  }, [refresh]);
}
