/**
 * Asks for the list of chats more often than the client does by itself, while somebody looks at it: what others write
 * elsewhere shows as a dot here.
 *
 * With accounts there is no need: the gateway tells each member at once (`chat-activity`). Without them it knows of a
 * chat's people only those who wrote in it of late, but everybody sees every chat.
 */
import { useEffect } from 'react';

const EVERY_MS = 5_000;

export function useFreshChats(refresh: () => Promise<void>, wanted: boolean): void {
  useEffect(() => {
    if (!wanted) return;
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible') void refresh();
    }, EVERY_MS);
    return () => clearInterval(timer);
  }, [refresh, wanted]);
}
