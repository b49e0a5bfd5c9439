import { act, cleanup, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { TypingLine } from '../../src/conversation/TypingLine.tsx';
import { languageSetting } from '../../src/i18n/language.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  cleanup();
  languageSetting.set('en');
  vi.useRealTimers();
});

function pass(ms: number): void {
  act(() => void vi.advanceTimersByTime(ms));
}

const heard = () => screen.getByRole('status').textContent;

test('its place is kept while nobody writes', () => {
  render(<TypingLine userIds={[]} />);
  expect(screen.getByTestId('typing').dataset['count']).toBe('0');
  expect(screen.getByTestId('typing').textContent).toBe('');
});

test.each([
  [['Bob'], 'Bob is typing…', 'Bob 正在輸入…'],
  [['Bob', 'Cleo'], 'Bob and Cleo are typing…', 'Bob和Cleo 正在輸入…'],
  [['Bob', 'Cleo', 'Dave'], 'Several people are typing…', '多人正在輸入…'],
])('%j are told as %s', (userIds, english, chinese) => {
  render(<TypingLine userIds={userIds} />);
  expect(screen.getByText(english)).toBeTruthy();
  act(() => languageSetting.set('zh-Hant'));
  expect(screen.getByText(chinese)).toBeTruthy();
});

test('a screen reader hears of it once it has settled, and not again for a while', () => {
  const { rerender } = render(<TypingLine userIds={['Bob']} />);
  pass(500);
  expect(heard()).toBe('');
  pass(500);
  expect(heard()).toBe('Bob is typing…');
  for (const userIds of [['Bob', 'Cleo'], [], ['Bob'], []]) {
    rerender(<TypingLine userIds={userIds} />);
    pass(3_000);
    expect(heard()).toBe('');
  }
  pass(10_000);
  rerender(<TypingLine userIds={['Cleo']} />);
  pass(1_000);
  expect(heard()).toBe('Cleo is typing…');
});
