import { act, cleanup, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { RateLimitLine } from '../../src/conversation/composer/RateLimitLine.tsx';
import { languageSetting } from '../../src/i18n/language.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  cleanup();
  languageSetting.set('en');
  vi.useRealTimers();
});

test('the line counts down, in both languages, and is announced once', () => {
  render(<RateLimitLine sendsAgainAt={new Date(Date.now() + 3_500)} />);
  expect(screen.getByText('Too many messages: sending again in 4 s')).toBeTruthy();
  act(() => void vi.advanceTimersByTime(2_000));
  expect(screen.getByText('Too many messages: sending again in 2 s')).toBeTruthy();
  expect(screen.getByRole('status').textContent).toBe('Too many messages: they are sent again soon.');
  act(() => languageSetting.set('zh-Hant'));
  expect(screen.getByText('訊息太多，2 秒後再次傳送')).toBeTruthy();
});
