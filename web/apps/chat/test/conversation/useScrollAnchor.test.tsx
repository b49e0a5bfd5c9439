import { act, cleanup, render } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import type { ChatEntry } from '@roomcast/react';
import { type ScrollAnchor, useScrollAnchor } from '../../src/conversation/messages/useScrollAnchor.ts';
import { entry } from './entry.ts';

let anchor: ScrollAnchor;
let scroller: HTMLDivElement | null;
let height = 1_000;

function Probe({ messages }: { readonly messages: readonly ChatEntry[] }) {
  const [ref, value] = useScrollAnchor(messages, 'me');
  return (
    <div
      ref={(element) => {
        ref.current = element;
        scroller = element;
        anchor = value;
        if (element) Object.defineProperty(element, 'scrollHeight', { configurable: true, get: () => height });
      }}
    />
  );
}

const others = (...keys: string[]) => keys.map((key) => entry({ key, userId: 'ann' }));

function scrollTo(top: number) {
  if (!scroller) throw new Error('not mounted');
  scroller.scrollTop = top;
  act(() => anchor.onScroll());
}

beforeEach(() => {
  height = 1_000;
  vi.stubGlobal('CSS', { supports: () => true });
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

test('the position at the end follows new messages', () => {
  const { rerender } = render(<Probe messages={others('a')} />);
  scrollTo(-20);
  rerender(<Probe messages={others('a', 'b')} />);
  expect(scroller?.scrollTop).toBe(0);
  expect(anchor).toMatchObject({ atEnd: true, unseen: 0 });
});

test('another position is kept, and unseen messages of other users are counted', () => {
  const { rerender } = render(<Probe messages={others('a')} />);
  scrollTo(-400);
  rerender(<Probe messages={[...others('a', 'b'), entry({ key: 'mine', userId: 'me' }), ...others('c')]} />);
  expect(scroller?.scrollTop).toBe(-400);
  expect(anchor).toMatchObject({ atEnd: false, unseen: 2 });
});

test('loaded history does not count as unseen', () => {
  const { rerender } = render(<Probe messages={others('m')} />);
  scrollTo(-400);
  rerender(<Probe messages={others('a', 'b', 'm')} />);
  expect(anchor.unseen).toBe(0);
  expect(scroller?.scrollTop).toBe(-400);
});

test('scrolling to the end, manually or by the button, resets the count', () => {
  const { rerender } = render(<Probe messages={others('a')} />);
  scrollTo(-400);
  rerender(<Probe messages={others('a', 'b')} />);
  scrollTo(-10);
  expect(anchor).toMatchObject({ atEnd: true, unseen: 0 });
  scrollTo(-400);
  act(() => anchor.scrollToEnd());
  expect(scroller?.scrollTop).toBe(0);
  expect(anchor.atEnd).toBe(true);
});

test('without scroll anchoring in the browser, appended messages do not move the visible ones', () => {
  vi.stubGlobal('CSS', { supports: () => false });
  const { rerender } = render(<Probe messages={others('a')} />);
  scrollTo(-400);
  height = 1_060;
  rerender(<Probe messages={others('a', 'b')} />);
  expect(scroller?.scrollTop).toBe(-460);
});

test('after a reset of the history nothing is counted', () => {
  const { rerender } = render(<Probe messages={others('a')} />);
  scrollTo(-400);
  rerender(<Probe messages={others('x', 'y')} />);
  expect(anchor.unseen).toBe(0);
});
