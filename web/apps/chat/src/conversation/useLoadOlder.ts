/** Asks for older messages as the reader comes near the beginning of what is there. */
import { type RefObject, useEffect } from 'react';

// Two screens ahead, so that one seldom meets the end of what is loaded.
const AHEAD = '1600px 0px 0px 0px';

/**
 * @param sentinel - An element above the first message.
 * @param oldestKey - Key of the first message: once it has changed the sentinel is looked at again.
 * @param loadOlder - Null while there is nothing to load, or after it failed.
 */
export function useOlder(
  scroller: RefObject<HTMLElement | null>,
  sentinel: RefObject<HTMLElement | null>,
  oldestKey: string | null,
  loadOlder: (() => Promise<void>) | null,
): void {
  useEffect(() => {
    if (loadOlder === null || sentinel.current === null) return;
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) void loadOlder();
      },
      { root: scroller.current, rootMargin: AHEAD },
    );
    observer.observe(sentinel.current);
    return () => {
      observer.disconnect();
    };
  }, [scroller, sentinel, oldestKey, loadOlder]);
}
