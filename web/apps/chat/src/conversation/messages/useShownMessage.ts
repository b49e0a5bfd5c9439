/** Scrolls to a message that the address or an action names, once it is loaded, and marks it until it loses the focus. */
import type { ChatEntry } from '@roomcast/react';
import { useCallback, useEffect, useState } from 'react';

import { placeIn, useTarget } from '../../routing/route.ts';

/** Another object for each request, so that a message can be shown again. */
interface Target {
  readonly place: number;
}

function targetOf(address: string): Target | null {
  const place = placeIn(address);
  return place === null ? null : { place };
}

/** @returns Whether the message cannot be shown, because it is too far back or loading failed; and what shows another. */
export function useShownMessage(
  ready: boolean,
  messages: readonly ChatEntry[],
  loadTo: (place: number) => Promise<boolean>,
): readonly [boolean, (place: number) => void] {
  const address = useTarget();
  const [asked, setAsked] = useState(address);
  const [target, setTarget] = useState(() => targetOf(address));
  const [missing, setMissing] = useState<Target | null>(null);
  if (asked !== address) {
    setAsked(address);
    setTarget(targetOf(address));
  }
  // A place keeps its message through edits, so that these do not scroll.
  const loaded = target !== null && messages.some(({ place }) => place === target.place);

  useEffect(() => {
    if (!ready || target === null || loaded) return;
    void loadTo(target.place).then((found) => {
      if (!found) setMissing(target);
    });
  }, [ready, target, loaded, loadTo]);

  useEffect(() => {
    const element = loaded ? document.querySelector<HTMLElement>(`[data-place="${target.place}"]`) : null;
    if (element === null) return;
    element.scrollIntoView({ block: 'center' });
    element.focus({ preventScroll: true });
    element.classList.add('message--found');
    const unmark = (): void => element.classList.remove('message--found');
    element.addEventListener('blur', unmark, { once: true });
    return unmark;
  }, [target, loaded]);

  const show = useCallback((place: number) => setTarget({ place }), []);
  return [!loaded && target !== null && missing === target, show];
}
