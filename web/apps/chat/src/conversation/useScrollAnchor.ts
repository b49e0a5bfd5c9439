/**
 * Keeps the reader where they are: at the end if they are there, else exactly at the message they look at.
 *
 * The scroller is a reversed flex column with one child, so the browser measures `scrollTop` from the end (0, then
 * negative upwards). History that is added above, and estimated heights that turn out otherwise, then move nothing.
 */
import type { ChatEntry } from '@roomcast/react';
import { type RefObject, useCallback, useLayoutEffect, useRef, useState } from 'react';

import { after, isMine } from './timeline.ts';

// Nearer to the end than this counts as being there: about one line of text.
const AT_END_PX = 32;

export interface Latest {
  readonly atEnd: boolean;
  /** How many messages of others came while the reader was away from the end. */
  readonly unseen: number;
  readonly onScroll: () => void;
  readonly toLatest: () => void;
}

function anchorsByItself(): boolean {
  return typeof CSS !== 'undefined' && CSS.supports('overflow-anchor', 'auto');
}

/** @returns what goes on the element that scrolls, and where its reader is */
export function useLatest(
  messages: readonly ChatEntry[],
  me: string,
): readonly [RefObject<HTMLDivElement | null>, Latest] {
  const scroller = useRef<HTMLDivElement>(null);
  const lastKey = messages.at(-1)?.key ?? null;
  // The last message that was there when the reader left the end; undefined while they are there.
  const [leftAt, setLeftAt] = useState<string | null | undefined>(undefined);
  const height = useRef(0);
  const atEnd = leftAt === undefined;

  const onScroll = useCallback(() => {
    const element = scroller.current;
    if (element === null) return;
    height.current = element.scrollHeight;
    const near = Math.abs(element.scrollTop) <= AT_END_PX;
    setLeftAt((before) => (near ? undefined : before === undefined ? lastKey : before));
  }, [lastKey]);

  const toLatest = useCallback(() => {
    setLeftAt(undefined);
    if (scroller.current !== null) scroller.current.scrollTop = 0;
  }, []);

  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    if (atEnd) element.scrollTop = 0;
    // Browsers without scroll anchoring would let what is appended below push the text away.
    else if (!anchorsByItself()) element.scrollTop -= element.scrollHeight - height.current;
    height.current = element.scrollHeight;
    // By the last message alone: what comes above must not move anything.
  }, [lastKey, atEnd]);

  const unseen = leftAt === undefined ? 0 : after(messages, leftAt).filter((message) => !isMine(message, me)).length;
  return [scroller, { atEnd, unseen, onScroll, toLatest }];
}
