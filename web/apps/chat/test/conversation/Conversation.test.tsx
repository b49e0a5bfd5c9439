import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { ProblemError, type UseChatResult } from '@roomcast/react';
import { Conversation } from '../../src/conversation/Conversation.tsx';
import { entry } from './entry.ts';

let chat: UseChatResult;

vi.mock(import('@roomcast/react'), async (original) => ({ ...(await original()), useChat: () => chat }));

const observed: IntersectionObserverCallback[] = [];

function come(): void {
  observed.at(-1)?.([{ isIntersecting: true } as IntersectionObserverEntry], {} as IntersectionObserver);
}

beforeEach(() => {
  observed.length = 0;
  vi.stubGlobal('matchMedia', () => ({ matches: false }));
  vi.stubGlobal(
    'IntersectionObserver',
    class {
      constructor(callback: IntersectionObserverCallback) {
        observed.push(callback);
      }
      observe = vi.fn();
      disconnect = vi.fn();
    },
  );
  chat = {
    messages: [],
    status: 'ready',
    error: null,
    synced: true,
    hasOlder: false,
    loadingOlder: false,
    typingUsers: [],
    presence: { online: [], stale: true },
    setTyping: vi.fn(),
    sendMessage: vi.fn(() => Promise.resolve(entry({ key: 'x' }))),
    retry: vi.fn(),
    discard: vi.fn(),
    loadOlder: vi.fn(() => Promise.resolve()),
  };
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  localStorage.clear();
});

const show = () => render(<Conversation chatId="lobby" me="me" online />);

test('what is not known yet is a shape, what is empty is said', () => {
  chat = { ...chat, status: 'loading' };
  show().unmount();
  chat = { ...chat, status: 'ready' };
  show();
  expect(screen.getByText('It is quiet here')).toBeTruthy();
  expect(screen.queryByTestId('skeleton')).toBeNull();
});

test('what was written before the history is there shows at once', () => {
  chat = { ...chat, status: 'loading', messages: [entry({ key: 'a', userId: 'me', status: 'sending' })] };
  show();
  expect(screen.getByTestId('message').dataset['status']).toBe('sending');
});

test('where one may not read, one cannot write either', () => {
  chat = { ...chat, status: 'error', error: new ProblemError(404, { code: 'chat-not-found' }) };
  show();
  expect(screen.getByRole('alert').textContent).toContain('You have no access to this chat.');
  expect(screen.queryByTestId('composer')).toBeNull();
});

test('what is typed is sent to the chat', () => {
  show();
  fireEvent.change(screen.getByTestId('composer'), { target: { value: 'hello' } });
  fireEvent.click(screen.getByTestId('send'));
  expect(chat.sendMessage).toHaveBeenCalledWith('hello');
});

test('coming near the beginning loads what is older, until there is no more', () => {
  chat = { ...chat, messages: [entry({ key: 'b' })], hasOlder: true };
  const { rerender } = show();
  come();
  expect(chat.loadOlder).toHaveBeenCalledTimes(1);
  const before = observed.length;
  chat = { ...chat, messages: [entry({ key: 'a' }), entry({ key: 'b' })], hasOlder: false };
  rerender(<Conversation chatId="lobby" me="me" online />);
  expect(observed).toHaveLength(before);
  expect(screen.getByText('This is where the conversation begins.')).toBeTruthy();
});

test('after a failure older messages come when asked for, not in a loop', () => {
  chat = { ...chat, messages: [entry({ key: 'b' })], hasOlder: true, error: new ProblemError(500, {}) };
  show();
  expect(observed).toHaveLength(0);
  fireEvent.click(screen.getByRole('button', { name: /Earlier messages could not be loaded/ }));
  expect(chat.loadOlder).toHaveBeenCalledTimes(1);
});

test('who writes is told above the field, and nobody where one may not write', () => {
  chat = { ...chat, typingUsers: ['Bob'] };
  const { rerender } = show();
  expect(screen.getByText('Bob is typing…')).toBeTruthy();
  chat = { ...chat, status: 'error', error: new ProblemError(404, { code: 'chat-not-found' }) };
  rerender(<Conversation chatId="lobby" me="me" online />);
  expect(screen.queryByTestId('typing')).toBeNull();
});

test('each change of the text tells that one writes, or that there is nothing any more', () => {
  show();
  const type = (value: string) => fireEvent.change(screen.getByTestId('composer'), { target: { value } });
  type('h');
  type('  ');
  type('');
  expect(vi.mocked(chat.setTyping).mock.calls).toEqual([[true], [false], [false]]);
});
