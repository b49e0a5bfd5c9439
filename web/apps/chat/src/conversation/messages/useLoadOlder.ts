/** Loads older messages when the user scrolls near the first loaded one. */
import { type RefObject, useEffect } from 'react';

// About two screen heights, so that the page is usually loaded before the user reaches it.
const ROOT_MARGIN = '1600px 0px 0px 0px';

/**
 * @param sentinel - An element above the first message.
 * @param oldestKey - Key of the first message; when it changes, the sentinel is observed again.
 * @param loadOlder - Null if there is no older page, or after a failure.
 */
export function useLoadOlder(
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
      { root: scroller.current, rootMargin: ROOT_MARGIN },
    );
    observer.observe(sentinel.current);
    return () => {
      observer.disconnect();
    };
  }, [scroller, sentinel, oldestKey, loadOlder]);
}
