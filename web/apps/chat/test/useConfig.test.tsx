import { act, cleanup, renderHook } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import type { contract } from '@roomcast/react';
import { useConfig } from '../src/useConfig.ts';

const CONFIG: contract.Config = { auth: false, gateway: { url: null, port: 1 }, epoch: 'e', version: '1' };

beforeEach(() => void vi.useFakeTimers());

afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

test('a server that does not answer is asked again until it does', async () => {
  const load = vi
    .fn<() => Promise<contract.Config>>()
    .mockRejectedValueOnce(new Error('away'))
    .mockResolvedValue(CONFIG);
  const { result } = renderHook(() => useConfig(load));
  expect(result.current).toEqual({ config: null, failed: false });
  await act(() => vi.advanceTimersByTimeAsync(0));
  expect(result.current).toEqual({ config: null, failed: true });
  await act(() => vi.advanceTimersByTimeAsync(2_000));
  expect(result.current).toEqual({ config: CONFIG, failed: false });
  await act(() => vi.advanceTimersByTimeAsync(60_000));
  expect(load).toHaveBeenCalledTimes(2);
});

test('a page that is gone asks no more', async () => {
  const load = vi.fn<() => Promise<contract.Config>>().mockRejectedValue(new Error('away'));
  const { unmount } = renderHook(() => useConfig(load));
  await act(() => vi.advanceTimersByTimeAsync(0));
  unmount();
  await act(() => vi.advanceTimersByTimeAsync(60_000));
  expect(load).toHaveBeenCalledTimes(1);
});
