// @vitest-environment jsdom
import { afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { platformRuntime } from '../src/platform/runtime.ts';

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function countWakes(): { wakes: () => number; stop: () => void } {
  const onWake = vi.fn();
  const stop = platformRuntime.onWake(onWake);
  onTestFinished(stop);
  return { wakes: () => onWake.mock.calls.length, stop };
}

test.each([
  ['online', window],
  ['offline', window],
  ['pageshow', window],
  ['resume', document],
  ['visibilitychange', document],
])('%s is a wake, until the callback is removed', (name, target) => {
  const { wakes, stop } = countWakes();
  target.dispatchEvent(new Event(name));
  expect(wakes()).toBe(1);
  stop();
  target.dispatchEvent(new Event(name));
  expect(wakes()).toBe(1);
});

test.each([
  ['absent', undefined],
  [
    'throwing',
    () => {
      throw new Error('blocked');
    },
  ],
])('with randomUUID %s, ids are random all the same', (_name, randomUUID) => {
  const { crypto: real } = globalThis;
  vi.stubGlobal('crypto', {
    getRandomValues: (bytes: Uint8Array<ArrayBuffer>) => real.getRandomValues(bytes),
    randomUUID,
  });
  expect(new Set(Array.from({ length: 100 }, () => platformRuntime.newId())).size).toBe(100);
});

test('a page that is hidden does not wake', () => {
  const { wakes } = countWakes();
  vi.spyOn(document, 'visibilityState', 'get').mockReturnValueOnce('hidden');
  document.dispatchEvent(new Event('visibilitychange'));
  expect(wakes()).toBe(0);
});

test('the end of a sleep is a wake within 2 s; a busy page is none', () => {
  vi.useFakeTimers();
  const { wakes } = countWakes();
  vi.advanceTimersByTime(60_000);
  vi.setSystemTime(Date.now() + 4_900);
  vi.advanceTimersByTime(2_000);
  expect(wakes()).toBe(0);
  vi.setSystemTime(Date.now() + 30_000);
  vi.advanceTimersByTime(2_000);
  expect(wakes()).toBe(1);
  vi.advanceTimersByTime(60_000);
  expect(wakes()).toBe(1);
});
