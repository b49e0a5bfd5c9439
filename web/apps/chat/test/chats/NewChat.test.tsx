import { act, cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';

import { NetworkError } from '@roomcast/react';
import { NewChat } from '../../src/chats/NewChat.tsx';

const title = () => screen.getByTestId<HTMLInputElement>('new-chat-title');

function open(onCreate: (title: string) => Promise<void>) {
  render(<NewChat onCreate={onCreate} />);
  fireEvent.click(screen.getByTestId('new-chat'));
}

const submit = (value: string) => {
  fireEvent.change(title(), { target: { value } });
  fireEvent.click(screen.getByTestId('new-chat-submit'));
};

afterEach(cleanup);

test('the field has the focus, and the chat is created with its trimmed title', async () => {
  const onCreate = vi.fn(() => Promise.resolve());
  open(onCreate);
  expect(document.activeElement).toBe(title());
  submit('  Plans ');
  await screen.findByTestId('new-chat');
  expect(onCreate.mock.calls).toEqual([['Plans']]);
});

test('a title has as many characters as on the server, of which one is visible', () => {
  const onCreate = vi.fn(() => new Promise<void>(() => undefined));
  open(onCreate);
  submit('\u200b\u3164');
  expect(screen.getByTestId<HTMLButtonElement>('new-chat-submit').disabled).toBe(true);
  submit('😀'.repeat(202));
  expect(screen.getByRole('status').textContent).toBe('2 characters too many');
  fireEvent.submit(title());
  expect(onCreate).not.toHaveBeenCalled();
  const longest = '😀'.repeat(200);
  submit(` ${longest} `);
  expect(onCreate).toHaveBeenCalledExactlyOnceWith(longest);
});

test('a second submit during the request creates no second chat', () => {
  const onCreate = vi.fn(() => new Promise<void>(() => undefined));
  open(onCreate);
  submit('Plans');
  fireEvent.submit(title());
  expect(onCreate).toHaveBeenCalledTimes(1);
});

test('a failure is shown and the title is kept', async () => {
  open(() => Promise.reject(new NetworkError('unreachable')));
  submit('Plans');
  expect((await screen.findByRole('alert')).textContent).toBe('The server cannot be reached.');
  expect(title().value).toBe('Plans');
});

test('Escape closes the form and restores the focus, except during an IME composition', async () => {
  open(() => Promise.resolve());
  fireEvent.keyDown(title(), { key: 'Escape', isComposing: true });
  expect(title()).toBeTruthy();
  fireEvent.keyDown(title(), { key: 'Escape' });
  await act(() => new Promise((next) => requestAnimationFrame(next)));
  expect(document.activeElement).toBe(screen.getByTestId('new-chat'));
});
