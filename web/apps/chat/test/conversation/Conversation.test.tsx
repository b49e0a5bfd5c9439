import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { ProblemError, type UseChatResult } from '@roomcast/react';
import { Conversation } from '../../src/conversation/Conversation.tsx';
import { entry } from './entry.ts';

let chat: UseChatResult;

vi.mock(import('@roomcast/react'), async (original) => ({ ...(await original()), useChat: () => chat }));

const observed: IntersectionObserverCallback[] = [];

function scrollNearStart(): void {
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
    activeTurn: null,
    status: 'ready',
    error: null,
    synced: true,
    hasOlder: false,
    sendsAgainAt: null,
    loadingOlder: false,
    typingUsers: [],
    presence: { online: [], stale: true },
    setTyping: vi.fn(),
    sendMessage: vi.fn(() => Promise.resolve(entry({ key: 'x' }))),
    retry: vi.fn(),
    discard: vi.fn(),
    stop: vi.fn(() => Promise.resolve()),
    regenerate: vi.fn(() => Promise.resolve()),
    edit: vi.fn(() => Promise.resolve()),
    versions: vi.fn(() => Promise.resolve([])),
    deleteMessage: vi.fn(() => Promise.resolve()),
    react: vi.fn(() => Promise.resolve()),
    pin: vi.fn(() => Promise.resolve()),
    pins: vi.fn(() => Promise.resolve([])),
    replies: vi.fn(() => Promise.resolve([])),
    loadTo: vi.fn(() => Promise.resolve(true)),
    uploadFile: vi.fn(() => Promise.reject(new Error('unused'))),
    removeFile: vi.fn(() => Promise.resolve()),
    fileUrl: vi.fn(() => Promise.resolve(null)),
    loadOlder: vi.fn(() => Promise.resolve()),
  };
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  localStorage.clear();
});

const show = () => render(<Conversation chatId="lobby" me="me" online acceptsFiles={false} onRead={vi.fn()} />);

test('a loading chat shows a skeleton, an empty one a notice', () => {
  chat = { ...chat, status: 'loading' };
  show().unmount();
  chat = { ...chat, status: 'ready' };
  show();
  expect(screen.getByText('It is quiet here')).toBeTruthy();
  expect(screen.queryByTestId('skeleton')).toBeNull();
});

test('own messages are shown before the history is loaded', () => {
  chat = { ...chat, status: 'loading', messages: [entry({ key: 'a', userId: 'me', status: 'sending' })] };
  show();
  expect(screen.getByTestId('message').dataset['status']).toBe('sending');
});

test('a user without read access has no composer', () => {
  chat = { ...chat, status: 'error', error: new ProblemError(404, { code: 'chat-not-found' }) };
  show();
  expect(screen.getByRole('alert').textContent).toContain('You have no access to this chat.');
  expect(screen.queryByTestId('composer')).toBeNull();
});

test('the text of the composer is sent to the chat', () => {
  show();
  fireEvent.change(screen.getByTestId('composer'), { target: { value: 'hello' } });
  fireEvent.click(screen.getByTestId('send'));
  expect(chat.sendMessage).toHaveBeenCalledWith('hello', null, []);
});

test('scrolling near the start loads older messages until there are none', () => {
  chat = { ...chat, messages: [entry({ key: 'b' })], hasOlder: true };
  const { rerender } = show();
  scrollNearStart();
  expect(chat.loadOlder).toHaveBeenCalledTimes(1);
  const before = observed.length;
  chat = { ...chat, messages: [entry({ key: 'a' }), entry({ key: 'b' })], hasOlder: false };
  rerender(<Conversation chatId="lobby" me="me" online acceptsFiles={false} onRead={vi.fn()} />);
  expect(observed).toHaveLength(before);
  expect(screen.getByText('This is where the conversation begins.')).toBeTruthy();
});

test('after a failure older messages are loaded on request only', () => {
  chat = { ...chat, messages: [entry({ key: 'b' })], hasOlder: true, error: new ProblemError(500, {}) };
  show();
  expect(observed).toHaveLength(0);
  fireEvent.click(screen.getByRole('button', { name: /Earlier messages could not be loaded/ }));
  expect(chat.loadOlder).toHaveBeenCalledTimes(1);
});

test('typing users are shown with the composer, and not without access', () => {
  chat = { ...chat, typingUsers: ['Bob'] };
  const { rerender } = show();
  expect(screen.getByText('Bob is typing…')).toBeTruthy();
  chat = { ...chat, status: 'error', error: new ProblemError(404, { code: 'chat-not-found' }) };
  rerender(<Conversation chatId="lobby" me="me" online acceptsFiles={false} onRead={vi.fn()} />);
  expect(screen.queryByTestId('typing')).toBeNull();
});

test('each change of the text calls setTyping with whether there is text', () => {
  show();
  const type = (value: string) => fireEvent.change(screen.getByTestId('composer'), { target: { value } });
  type('h');
  type('  ');
  type('');
  expect(vi.mocked(chat.setTyping).mock.calls).toEqual([[true], [false], [false]]);
});
