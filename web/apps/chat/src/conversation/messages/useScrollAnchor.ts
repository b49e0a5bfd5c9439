/**
 * Keeps the scroll position of the message list: at the end if it is there, otherwise at the visible messages.
 *
 * The scroller is a reversed flex column with one child, so `scrollTop` is measured from the end (0, negative upwards).
 * Older messages that are added above, and corrected height estimates, therefore do not move the visible messages.
 */
import type { ChatEntry } from '@roomcast/react';
import { type RefObject, useCallback, useLayoutEffect, useRef, useState } from 'react';

import { isMine, messagesAfter } from './timeline.ts';

// Maximum distance from the end that counts as the end: about one line of text.
const AT_END_PX = 32;

export interface ScrollAnchor {
  readonly atEnd: boolean;
  /** Number of messages that other users sent since the user scrolled away from the end. */
  readonly unseen: number;
  readonly onScroll: () => void;
  readonly scrollToEnd: () => void;
}

function hasScrollAnchoring(): boolean {
  return typeof CSS !== 'undefined' && CSS.supports('overflow-anchor', 'auto');
}

/** @returns The ref of the scrolling element, and its state. */
export function useScrollAnchor(
  messages: readonly ChatEntry[],
  me: string,
): readonly [RefObject<HTMLDivElement | null>, ScrollAnchor] {
  const scroller = useRef<HTMLDivElement>(null);
  const lastKey = messages.at(-1)?.key ?? null;
  // Key of the last message when the user scrolled away from the end; undefined while at the end.
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

  const scrollToEnd = useCallback(() => {
    setLeftAt(undefined);
    if (scroller.current !== null) scroller.current.scrollTop = 0;
  }, []);

  // An answer at the end grows. Where the browser anchors the scroll position itself, that needs no layout here.
  const end = hasScrollAnchoring() ? lastKey : messages.at(-1);
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    if (atEnd) element.scrollTop = 0;
    // Without scroll anchoring in the browser, appended messages would move the visible ones.
    else if (!hasScrollAnchoring()) element.scrollTop -= element.scrollHeight - height.current;
    height.current = element.scrollHeight;
    // The effect depends on the last message only, because messages added above need no correction.
  }, [end, atEnd]);

  const unseen =
    leftAt === undefined ? 0 : messagesAfter(messages, leftAt).filter((message) => !isMine(message, me)).length;
  return [scroller, { atEnd, unseen, onScroll, scrollToEnd }];
}
