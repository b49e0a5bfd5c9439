import { act, cleanup, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { TypingLine } from '../../src/conversation/composer/TypingLine.tsx';
import { languageSetting } from '../../src/i18n/language.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  cleanup();
  languageSetting.set('en');
  vi.useRealTimers();
});

function advance(ms: number): void {
  act(() => void vi.advanceTimersByTime(ms));
}

const announced = () => screen.getByRole('status').textContent;

test('the line stays mounted without typing users', () => {
  render(<TypingLine userIds={[]} />);
  expect(screen.getByTestId('typing').dataset['count']).toBe('0');
  expect(screen.getByTestId('typing').textContent).toBe('');
});

test.each([
  [['Bob'], 'Bob is typing…', 'Bob 正在輸入…'],
  [['Bob', 'Cleo'], 'Bob and Cleo are typing…', 'Bob和Cleo 正在輸入…'],
  [['Bob', 'Cleo', 'Dave'], 'Several people are typing…', '多人正在輸入…'],
])('%j is shown as %s', (userIds, english, chinese) => {
  render(<TypingLine userIds={userIds} />);
  expect(screen.getByText(english)).toBeTruthy();
  act(() => languageSetting.set('zh-Hant'));
  expect(screen.getByText(chinese)).toBeTruthy();
});

test('a stable text is announced to screen readers, at limited intervals', () => {
  const { rerender } = render(<TypingLine userIds={['Bob']} />);
  advance(500);
  expect(announced()).toBe('');
  advance(500);
  expect(announced()).toBe('Bob is typing…');
  for (const userIds of [['Bob', 'Cleo'], [], ['Bob'], []]) {
    rerender(<TypingLine userIds={userIds} />);
    advance(3_000);
    expect(announced()).toBe('');
  }
  advance(10_000);
  rerender(<TypingLine userIds={['Cleo']} />);
  advance(1_000);
  expect(announced()).toBe('Cleo is typing…');
});
