/** Scrolls to the message that the address names, once it is loaded, and marks it until it loses the focus. */
import type { ChatEntry } from '@roomcast/react';
import { useEffect, useState } from 'react';

import { placeIn, useTarget } from '../routing/route.ts';

/** @returns True if the message cannot be shown: it is too far back, or loading failed. */
export function useShownMessage(
  ready: boolean,
  messages: readonly ChatEntry[],
  loadTo: (place: number) => Promise<boolean>,
): boolean {
  const place = placeIn(useTarget());
  const [missing, setMissing] = useState<number | null>(null);
  const id = place === null ? undefined : messages.find((message) => message.place === place)?.id;

  useEffect(() => {
    if (!ready || place === null || id !== undefined) return;
    void loadTo(place).then((found) => {
      if (!found) setMissing(place);
    });
  }, [ready, place, id, loadTo]);

  useEffect(() => {
    const element =
      id === undefined ? null : document.querySelector<HTMLElement>(`[data-message-id="${CSS.escape(id)}"]`);
    if (element === null) return;
    element.scrollIntoView({ block: 'center' });
    element.focus({ preventScroll: true });
    element.classList.add('message--found');
    const unmark = (): void => element.classList.remove('message--found');
    element.addEventListener('blur', unmark, { once: true });
    return unmark;
  }, [id]);

  return id === undefined && place !== null && missing === place;
}
