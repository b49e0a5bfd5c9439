import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';

import { NetworkError } from '@roomcast/react';
import { ChatList } from '../../src/chats/ChatList.tsx';

const chat = (id: string, title: string | null = null, unread = 0, mentions = 0) => ({
  id,
  title,
  lastSeq: 1,
  lastMessage: { epoch: 'e1', seq: 1, userId: 'bob', time: new Date(2_000) },
  preview: 'line one\nline two',
  previewFile: null as string | null,
  unread,
  mentions,
  archived: false,
  direct: null,
  notify: 'all' as const,
  createdAt: new Date(1_000),
  lastActivityAt: new Date(2_000),
});

const props = {
  chats: [chat('b', 'Beta'), chat('a', 'Alpha')],
  failure: null,
  loading: false,
  hasMore: false,
  activeId: 'a',
  homeId: null,
  me: 'ann',
  onMore: vi.fn(),
  onRetry: vi.fn(),
  onOpen: vi.fn(),
};

const items = () => screen.queryAllByTestId('chat-item').map((item) => item.dataset['chatId']);

// jsdom has no layout.
const scrollIntoView = vi.fn(function (this: Element) {
  return this.textContent;
});
Element.prototype.scrollIntoView = scrollIntoView;

afterEach(() => {
  cleanup();
  vi.clearAllMocks();
  window.history.replaceState(null, '', '/');
});

test('the open chat is scrolled into view, once', () => {
  const { rerender } = render(<ChatList {...props} />);
  rerender(<ChatList {...props} chats={[chat('c', 'Gamma'), ...props.chats]} />);
  expect(scrollIntoView).toHaveReturnedWith(expect.stringMatching('^#Alpha'));
  expect(scrollIntoView).toHaveBeenCalledTimes(1);
  rerender(<ChatList {...props} activeId="b" />);
  expect(scrollIntoView).toHaveLastReturnedWith(expect.stringMatching('^#Beta'));
});

test('the open chat is marked, and listed even if the server does not return it', () => {
  render(<ChatList {...props} activeId="secret-plans" />);
  expect(items()).toEqual(['secret-plans', 'b', 'a']);
  expect(screen.getByRole('link', { current: 'page' }).dataset['chatId']).toBe('secret-plans');
});

test('the home chat is listed once, even without messages', () => {
  const { rerender } = render(<ChatList {...props} homeId="lobby" />);
  expect(items()).toEqual(['lobby', 'b', 'a']);
  rerender(<ChatList {...props} homeId="lobby" activeId="lobby" />);
  expect(items()).toEqual(['lobby', 'b', 'a']);
  rerender(<ChatList {...props} homeId="lobby" chats={[...props.chats, chat('lobby')]} />);
  expect(items()).toEqual(['b', 'a', 'lobby']);
});

test('unread messages and mentions are counted, except in the open chat', () => {
  render(<ChatList {...props} chats={[chat('b', 'Beta', 100, 1), chat('a', 'Alpha', 2)]} />);
  expect(screen.getAllByTestId('chat-item').map((item) => item.dataset['unread'])).toEqual(['true', 'false']);
  expect(screen.getAllByTestId('unread').map((badge) => badge.textContent)).toEqual(['99+100 unread messages']);
  expect(screen.getByText('1 mention of you')).toBeTruthy();
  expect(screen.getAllByText('line one line two')).toHaveLength(2);
});

test('a plain click opens a chat in the page; the browser handles a click with a modifier key', () => {
  render(<ChatList {...props} />);
  const [beta] = screen.getAllByTestId('chat-item');
  if (!beta) throw new Error('no item');
  let handledByBrowser = false;
  const browser = (event: Event) => {
    handledByBrowser = !event.defaultPrevented;
    event.preventDefault(); // jsdom cannot navigate
  };
  document.addEventListener('click', browser, { once: true });
  fireEvent.click(beta, { ctrlKey: true });
  expect(handledByBrowser).toBe(true);
  expect(window.location.pathname).toBe('/');
  expect(fireEvent.click(beta)).toBe(false);
  expect(window.location.pathname).toBe('/c/b');
  expect(props.onOpen).toHaveBeenCalledTimes(1);
});

test('a failure is shown below the list, with a button to retry', () => {
  render(<ChatList {...props} failure={new NetworkError('unreachable')} hasMore />);
  expect(items()).toHaveLength(2);
  fireEvent.click(screen.getByRole('button', { name: 'Try again' }));
  fireEvent.click(screen.getByTestId('more-chats'));
  expect(props.onRetry).toHaveBeenCalledTimes(1);
  expect(props.onMore).toHaveBeenCalledTimes(1);
});

test('a loading list is empty', () => {
  render(<ChatList {...props} chats={[]} loading homeId="lobby" />);
  expect(items()).toEqual([]);
  expect(screen.getByRole('status')).toBeTruthy();
});

test('a message of files alone has its first file as preview', () => {
  render(<ChatList {...props} chats={[{ ...chat('c', 'Gamma'), preview: '', previewFile: 'plan.pdf' }]} />);
  expect(screen.getByTestId('chat-list').textContent).toContain('📎 plan.pdf');
});
