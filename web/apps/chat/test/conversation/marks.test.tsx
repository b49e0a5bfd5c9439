import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';

import { ChatActionsContext, LoadedMessages } from '../../src/conversation/actions.ts';
import { MessageItem } from '../../src/conversation/messages/MessageItem.tsx';
import { Pins } from '../../src/conversation/messages/Pins.tsx';
import { findThreads, ThreadsContext } from '../../src/conversation/messages/threads.ts';
import { chatActions } from './chat-actions.ts';
import { entry } from './entry.ts';

const actions = chatActions();

function show(change: Partial<ReturnType<typeof entry>>, mine = false) {
  return render(
    <ChatActionsContext.Provider value={actions}>
      <MessageItem message={entry({ key: 'k', id: 'm', ...change })} mine={mine} showTime online />
    </ChatActionsContext.Provider>,
  );
}

afterEach(() => {
  cleanup();
  vi.clearAllMocks();
});

test('a reaction shows how many users reacted, and a click adds or takes back the own one', () => {
  show({
    reactions: [
      { emoji: '👍', userIds: ['ann', 'me'] },
      { emoji: '🎉', userIds: ['ann'] },
    ],
  });
  const [own, other] = screen.getAllByTestId('reaction');
  expect([own?.textContent, own?.getAttribute('aria-pressed')]).toEqual(['👍 2', 'true']);
  expect([other?.textContent, other?.getAttribute('aria-pressed')]).toEqual(['🎉 1', 'false']);
  if (own) fireEvent.click(own);
  if (other) fireEvent.click(other);
  expect(actions.react.mock.calls).toEqual([
    ['m', '👍', false],
    ['m', '🎉', true],
  ]);
});

test('the picker opens, adds a reaction and closes', () => {
  show({});
  fireEvent.click(screen.getByTestId('react'));
  const [first] = screen.getAllByTestId('emoji');
  if (first) fireEvent.click(first);
  expect(actions.react).toHaveBeenCalledWith('m', '👍', true);
  expect(screen.queryByTestId('emoji')).toBeNull();
});

test('only the author deletes a message, after a question', () => {
  const { unmount } = show({});
  expect(screen.queryByTestId('delete')).toBeNull();
  unmount();
  show({}, true);
  fireEvent.click(screen.getByTestId('delete'));
  expect(actions.remove).not.toHaveBeenCalled();
  fireEvent.click(screen.getByTestId('delete-confirm'));
  expect(actions.remove).toHaveBeenCalledWith('m');
});

test('a deleted message has no text and no actions', () => {
  show({ deleted: true, content: '', version: 2 }, true);
  expect(screen.getByText('This message was deleted.')).toBeTruthy();
  for (const id of ['edit', 'react', 'reply', 'pin', 'delete', 'versions']) expect(screen.queryByTestId(id)).toBeNull();
});

const quoted = (loaded: readonly ReturnType<typeof entry>[]) => (
  <ChatActionsContext.Provider value={actions}>
    <LoadedMessages value={loaded}>
      <MessageItem message={reply} mine={false} showTime online />
    </LoadedMessages>
  </ChatActionsContext.Provider>
);
const reply = entry({ key: 'k', id: 'm', replyTo: 'original' });

test('a reply quotes the message that it answers, until that is deleted, and shows it on a click', () => {
  const original = entry({ key: 'o', id: 'original', userId: 'bob', content: 'the question' });
  const { rerender } = render(quoted([original]));
  expect(screen.getByTestId('quote').textContent).toBe('bob the question');
  fireEvent.click(screen.getByTestId('quote'));
  expect(actions.show).toHaveBeenCalledWith(original);
  rerender(quoted([{ ...original, content: '', deleted: true }]));
  expect(screen.getByTestId('quote').textContent).toBe('bob This message was deleted.');
});

test('a reply to a message that is not loaded says so', () => {
  const { rerender } = render(quoted([]));
  expect(screen.getByText('Reply to an earlier message')).toBeTruthy();
  rerender(quoted([entry({ key: 'o', id: 'original', userId: 'bob', content: 'the question' })]));
  expect(screen.getByTestId('quote').textContent).toBe('bob the question');
});

test('a reply quotes the newest version of the message that it answers, by its place', async () => {
  const original = entry({ key: 'o', id: 'original', place: 3, content: 'a tpyo' });
  const edited = { ...original, id: 'edited', version: 2, content: 'a typo' };
  const { rerender, unmount } = render(quoted([original]));
  rerender(quoted([edited]));
  expect(screen.getByTestId('quote').textContent).toContain('a typo');
  unmount();
  // Loaded after the edit: the server knows the place of each version.
  actions.show.mockResolvedValueOnce(3);
  render(quoted([edited]));
  expect(screen.getByTestId('quote').textContent).toBe('Reply to an earlier message');
  fireEvent.click(screen.getByTestId('quote'));
  expect(actions.show).toHaveBeenCalledWith('original');
  await screen.findByText('a typo');
});

test('a user that may not write has no actions, and a moderator deletes messages of others', () => {
  const { rerender } = render(permitted({ writes: false, deletes: () => false }));
  for (const id of ['edit', 'react', 'reply', 'pin', 'delete']) expect(screen.queryByTestId(id)).toBeNull();
  expect(screen.getByTestId('reaction').matches(':disabled')).toBe(true);
  rerender(permitted({ writes: true, deletes: () => true }));
  for (const id of ['react', 'reply', 'pin', 'delete']) expect(screen.getByTestId(id)).toBeTruthy();
  expect(screen.queryByTestId('edit')).toBeNull();
});

const permitted = (rights: Partial<ReturnType<typeof chatActions>>) => (
  <ChatActionsContext.Provider value={{ ...actions, ...rights }}>
    <MessageItem
      message={entry({ key: 'k', id: 'm', reactions: [{ emoji: '👍', userIds: ['ann'] }] })}
      mine={false}
      showTime
      online
    />
  </ChatActionsContext.Provider>
);

test('a message that is left with an action keeps the focus', () => {
  show({}, true);
  const message = screen.getByTestId('message');
  fireEvent.click(screen.getByTestId('react'));
  const [first] = screen.getAllByTestId('emoji');
  if (first) fireEvent.click(first);
  expect(document.activeElement).toBe(message);
  fireEvent.click(screen.getByTestId('edit'));
  fireEvent.keyDown(screen.getByTestId('edit-field'), { key: 'Escape' });
  expect(document.activeElement).toBe(message);
});

test('the pinned messages are read again after each change of a pin', async () => {
  const pinned = entry({ key: 'p', id: 'p', pinned: true, content: 'important' });
  const read = vi.fn(() => Promise.resolve([pinned]));
  const list = (messages: readonly ReturnType<typeof entry>[]) => (
    <ChatActionsContext.Provider value={actions}>
      <Pins messages={messages} read={read} />
    </ChatActionsContext.Provider>
  );
  const { rerender } = render(list([entry({ key: 'p', id: 'p' })]));
  await screen.findByText('1 pinned message');
  rerender(list([pinned]));
  expect(read).toHaveBeenCalledTimes(2);
});

test('replies to replies belong to the thread of the first message, which counts them and opens it', () => {
  const threads = findThreads([
    ['b', 'm'],
    ['c', 'b'],
    ['e', 'd'],
  ]);
  expect([...threads.rootOf]).toEqual([
    ['b', 'm'],
    ['c', 'm'],
    ['e', 'd'],
  ]);
  render(
    <ChatActionsContext.Provider value={actions}>
      <ThreadsContext value={threads}>
        <MessageItem message={entry({ key: 'k', id: 'm' })} mine={false} showTime online />
      </ThreadsContext>
    </ChatActionsContext.Provider>,
  );
  const button = screen.getByTestId('replies');
  expect(button.textContent).toBe('2 replies');
  fireEvent.click(button);
  expect(actions.openThread).toHaveBeenCalledWith('m');
});
