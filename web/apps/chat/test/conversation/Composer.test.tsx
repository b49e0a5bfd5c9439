import type { Attachment } from '@roomcast/react';
import { cleanup, createEvent, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { Composer } from '../../src/conversation/composer/Composer.tsx';
import { rules } from '../../src/generated/rules.ts';

const MAX = rules.content.maxLength;
const field = () => screen.getByTestId<HTMLTextAreaElement>('composer');
const send = () => screen.getByTestId<HTMLButtonElement>('send');
const type = (value: string) => fireEvent.change(field(), { target: { value } });

function show(chatId = 'lobby', userId = 'ann') {
  const onSend = vi.fn<(content: string, files: readonly Attachment[]) => void>();
  const view = render(
    <Composer
      people={['ai', 'bob', '小明']}
      userId={userId}
      chatId={chatId}
      onSend={onSend}
      uploads={null}
      onTyping={() => undefined}
      onStop={null}
      replyTo={null}
      onCancelReply={() => undefined}
    />,
  );
  return { onSend, ...view };
}

beforeEach(() => {
  vi.stubGlobal('matchMedia', () => ({ matches: true }));
});

afterEach(() => {
  cleanup();
  localStorage.clear();
  vi.unstubAllGlobals();
});

test('Enter sends the text once and clears the field', () => {
  const { onSend } = show();
  type('  hello\nworld ');
  fireEvent.keyDown(field(), { key: 'Enter' });
  fireEvent.keyDown(field(), { key: 'Enter' });
  expect(onSend.mock.calls).toEqual([['hello\nworld', []]]);
  expect(field().value).toBe('');
});

test('Shift + Enter keeps its default action', () => {
  const { onSend } = show();
  type('hello');
  const event = createEvent.keyDown(field(), { key: 'Enter', shiftKey: true });
  fireEvent(field(), event);
  expect(event.defaultPrevented).toBe(false);
  expect(onSend).not.toHaveBeenCalled();
});

test.each([
  ['while composing', { isComposing: true }],
  ['in Safari, where the composition ends first', { keyCode: 229 }],
])('Enter that accepts an IME candidate does not send: %s', (_, change) => {
  const { onSend } = show();
  type('ni hao');
  const event = createEvent.keyDown(field(), { key: 'Enter', ...change });
  fireEvent(field(), event);
  expect(event.defaultPrevented).toBe(false);
  expect(onSend).not.toHaveBeenCalled();
  fireEvent.keyDown(field(), { key: 'Enter' });
  expect(onSend).toHaveBeenCalledTimes(1);
});

test('blank text cannot be sent', () => {
  const { onSend } = show();
  expect(send().disabled).toBe(true);
  for (const blank of [' \n ', '\u200b', '\u3164\u2060', ' '.repeat(MAX + 1)]) {
    type(blank);
    expect(send().disabled).toBe(true);
    expect(field().getAttribute('aria-invalid')).toBe('false');
  }
  fireEvent.keyDown(field(), { key: 'Enter' });
  expect(onSend).not.toHaveBeenCalled();
});

test('text that is too long is kept, and the excess is shown', () => {
  const { onSend } = show();
  type(`  ${'a'.repeat(MAX + 3)}\n`);
  fireEvent.keyDown(field(), { key: 'Enter' });
  expect(onSend).not.toHaveBeenCalled();
  expect(field().getAttribute('aria-invalid')).toBe('true');
  expect(screen.getByRole('status').textContent).toContain('3');
});

test('the length is that of the text to send: trimmed, in code points', () => {
  const { onSend } = show();
  const longest = '😀'.repeat(MAX);
  type(` ${longest}\n\n`);
  fireEvent.keyDown(field(), { key: 'Enter' });
  expect(onSend.mock.calls).toEqual([[longest, []]]);
});

test('the button sends too, and focuses the field', () => {
  const { onSend } = show();
  type('hello');
  fireEvent.click(send());
  expect(onSend).toHaveBeenCalledWith('hello', []);
  expect(document.activeElement).toBe(field());
});

test('a draft survives a reload, for its user and chat only', () => {
  show('lobby').unmount();
  const { unmount } = show('lobby');
  type('unfinished');
  unmount();
  show('other').unmount();
  const { unmount: leave } = show('lobby');
  expect(field().value).toBe('unfinished');
  leave();
  show('lobby', 'bob');
  expect(field().value).toBe('');
});

test('a sent draft is removed from the storage', () => {
  show();
  type('hello');
  expect(localStorage.length).toBe(1);
  fireEvent.keyDown(field(), { key: 'Enter' });
  expect(localStorage.length).toBe(0);
});

test('the field is focused on mount, except on touch devices', () => {
  show().unmount();
  const { unmount } = show();
  expect(document.activeElement).toBe(field());
  unmount();
  vi.stubGlobal('matchMedia', () => ({ matches: false }));
  show();
  expect(document.activeElement).not.toBe(field());
});

test('Enter completes a mention, and neither sends nor completes while an input method composes', () => {
  const { onSend } = show();
  type('你好@');
  expect(screen.queryByTestId('mentions')).not.toBeNull();
  fireEvent.keyDown(field(), { key: 'Enter', isComposing: true });
  expect(field().value).toBe('你好@');
  fireEvent.keyDown(field(), { key: 'ArrowDown' });
  fireEvent.keyDown(field(), { key: 'Enter' });
  expect(field().value).toBe('你好@bob ');
  expect(screen.queryByTestId('mentions')).toBeNull();
  expect(onSend).not.toHaveBeenCalled();
  fireEvent.keyDown(field(), { key: 'Enter' });
  expect(onSend).toHaveBeenCalledWith('你好@bob', []);
});

test('Escape and the end of the word close the suggestions', () => {
  show();
  type('@a');
  fireEvent.keyDown(field(), { key: 'Escape' });
  expect(screen.queryByTestId('mentions')).toBeNull();
  type('@ai ');
  expect(screen.queryByTestId('mentions')).toBeNull();
});
