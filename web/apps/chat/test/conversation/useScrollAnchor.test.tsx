import { act, cleanup, render } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import type { ChatEntry } from '@roomcast/react';
import { type Latest, useLatest } from '../../src/conversation/useLatest.ts';
import { entry } from './entry.ts';

let latest: Latest;
let scroller: HTMLDivElement | null;
let height = 1_000;

function Probe({ messages }: { readonly messages: readonly ChatEntry[] }) {
  const [ref, value] = useLatest(messages, 'me');
  return (
    <div
      ref={(element) => {
        ref.current = element;
        scroller = element;
        latest = value;
        if (element) Object.defineProperty(element, 'scrollHeight', { configurable: true, get: () => height });
      }}
    />
  );
}

const others = (...keys: string[]) => keys.map((key) => entry({ key, userId: 'ann' }));

function scrollTo(top: number) {
  if (!scroller) throw new Error('not mounted');
  scroller.scrollTop = top;
  act(() => latest.onScroll());
}

beforeEach(() => {
  height = 1_000;
  vi.stubGlobal('CSS', { supports: () => true });
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

test('a reader at the end stays at the end', () => {
  const { rerender } = render(<Probe messages={others('a')} />);
  scrollTo(-20);
  rerender(<Probe messages={others('a', 'b')} />);
  expect(scroller?.scrollTop).toBe(0);
  expect(latest).toMatchObject({ atEnd: true, unseen: 0 });
});

test('a reader further up is left alone and told how many came from others', () => {
  const { rerender } = render(<Probe messages={others('a')} />);
  scrollTo(-400);
  rerender(<Probe messages={[...others('a', 'b'), entry({ key: 'mine', userId: 'me' }), ...others('c')]} />);
  expect(scroller?.scrollTop).toBe(-400);
  expect(latest).toMatchObject({ atEnd: false, unseen: 2 });
});

test('older history is not news', () => {
  const { rerender } = render(<Probe messages={others('m')} />);
  scrollTo(-400);
  rerender(<Probe messages={others('a', 'b', 'm')} />);
  expect(latest.unseen).toBe(0);
  expect(scroller?.scrollTop).toBe(-400);
});

test('back at the end, by hand or by the button, nothing is unseen', () => {
  const { rerender } = render(<Probe messages={others('a')} />);
  scrollTo(-400);
  rerender(<Probe messages={others('a', 'b')} />);
  scrollTo(-10);
  expect(latest).toMatchObject({ atEnd: true, unseen: 0 });
  scrollTo(-400);
  act(() => latest.toLatest());
  expect(scroller?.scrollTop).toBe(0);
  expect(latest.atEnd).toBe(true);
});

test('without scroll anchoring in the browser, what is appended does not push the text away', () => {
  vi.stubGlobal('CSS', { supports: () => false });
  const { rerender } = render(<Probe messages={others('a')} />);
  scrollTo(-400);
  height = 1_060;
  rerender(<Probe messages={others('a', 'b')} />);
  expect(scroller?.scrollTop).toBe(-460);
});

test('after a reset, when the known message is gone, nothing is counted', () => {
  const { rerender } = render(<Probe messages={others('a')} />);
  scrollTo(-400);
  rerender(<Probe messages={others('x', 'y')} />);
  expect(latest.unseen).toBe(0);
});
