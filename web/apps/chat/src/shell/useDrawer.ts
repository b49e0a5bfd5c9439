/** Shows the sidebar as a drawer on a narrow screen. Escape closes the drawer; the focus returns to its button. */
import { type RefObject, useCallback, useEffect, useRef, useState, useSyncExternalStore } from 'react';

import { onEvents } from '../listeners.ts';

// The same breakpoint as in styles/shell.css.
const NARROW = '(max-width: 767px)';

function subscribe(listener: () => void): () => void {
  return onEvents(window.matchMedia(NARROW), 'change')(listener);
}

export interface Drawer {
  /** True while the drawer covers the conversation. */
  readonly open: boolean;
  /** True while the sidebar is off screen. */
  readonly hidden: boolean;
  readonly opener: RefObject<HTMLButtonElement | null>;
  readonly show: () => void;
  readonly hide: () => void;
}

export function useDrawer(): Drawer {
  const narrow = useSyncExternalStore(subscribe, () => window.matchMedia(NARROW).matches);
  const [requested, setRequested] = useState(false);
  const opener = useRef<HTMLButtonElement>(null);
  const open = narrow && requested;

  const show = useCallback(() => setRequested(true), []);
  const hide = useCallback(() => setRequested(false), []);

  useEffect(() => {
    if (!open) return;
    const button = opener.current;
    const onKeyDown = (event: KeyboardEvent): void => {
      if (event.key === 'Escape' && !event.isComposing) setRequested(false);
    };
    document.addEventListener('keydown', onKeyDown);
    return () => {
      document.removeEventListener('keydown', onKeyDown);
      button?.focus();
    };
  }, [open]);

  return { open, hidden: narrow && !requested, opener, show, hide };
}
