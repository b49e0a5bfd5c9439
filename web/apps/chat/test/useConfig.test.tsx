import { act, cleanup, renderHook } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import type { contract } from '@roomcast/react';
import { useConfig } from '../src/useConfig.ts';

const CONFIG: contract.Config = {
  auth: false,
  signIn: false,
  files: null,
  gateway: { url: null, port: 1 },
  epoch: 'e',
  version: '1',
};

beforeEach(() => void vi.useFakeTimers());

afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

test('a failed request is repeated until it succeeds', async () => {
  const load = vi
    .fn<() => Promise<contract.Config>>()
    .mockRejectedValueOnce(new Error('unreachable'))
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

test('no request is made after the unmount', async () => {
  const load = vi.fn<() => Promise<contract.Config>>().mockRejectedValue(new Error('unreachable'));
  const { unmount } = renderHook(() => useConfig(load));
  await act(() => vi.advanceTimersByTimeAsync(0));
  unmount();
  await act(() => vi.advanceTimersByTimeAsync(60_000));
  expect(load).toHaveBeenCalledTimes(1);
});
