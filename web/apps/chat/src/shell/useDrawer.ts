/** The sidebar on a narrow screen: a drawer that Escape closes and that gives the focus back. */
import { type RefObject, useCallback, useEffect, useRef, useState, useSyncExternalStore } from 'react';

// As in styles/shell.css.
const NARROW = '(max-width: 767px)';

function subscribe(listener: () => void): () => void {
  const query = window.matchMedia(NARROW);
  query.addEventListener('change', listener);
  return () => query.removeEventListener('change', listener);
}

export interface Drawer {
  /** The sidebar covers the conversation. */
  readonly open: boolean;
  /** The sidebar is out of sight. */
  readonly hidden: boolean;
  readonly opener: RefObject<HTMLButtonElement | null>;
  readonly show: () => void;
  readonly hide: () => void;
}

export function useDrawer(): Drawer {
  const narrow = useSyncExternalStore(subscribe, () => window.matchMedia(NARROW).matches);
  const [wanted, setWanted] = useState(false);
  const opener = useRef<HTMLButtonElement>(null);
  const open = narrow && wanted;

  const show = useCallback(() => setWanted(true), []);
  const hide = useCallback(() => setWanted(false), []);

  useEffect(() => {
    if (!open) return;
    const button = opener.current;
    const onKeyDown = (event: KeyboardEvent): void => {
      if (event.key === 'Escape' && !event.isComposing) setWanted(false);
    };
    document.addEventListener('keydown', onKeyDown);
    return () => {
      document.removeEventListener('keydown', onKeyDown);
      button?.focus();
    };
  }, [open]);

  return { open, hidden: narrow && !wanted, opener, show, hide };
}
