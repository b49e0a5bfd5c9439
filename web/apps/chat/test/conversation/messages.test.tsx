import { act, cleanup, fireEvent, render, screen, within } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';

import { NetworkError } from '@roomcast/react';
import { ChatActionsContext } from '../../src/conversation/actions.ts';
import { Announcer } from '../../src/conversation/messages/Announcer.tsx';
import { MessageGroup } from '../../src/conversation/messages/MessageGroup.tsx';
import { groupByDay } from '../../src/conversation/messages/timeline.ts';
import { languageSetting } from '../../src/i18n/language.ts';
import { chatActions } from './chat-actions.ts';
import { entry } from './entry.ts';

const actions = chatActions();

function show(messages: Parameters<typeof groupByDay>[0], online = true) {
  const groups = groupByDay(messages, 'me').flatMap((day) => day.groups);
  return render(
    <ChatActionsContext.Provider value={actions}>
      {groups.map((group) => (
        <MessageGroup key={group.key} group={group} online={online} />
      ))}
    </ChatActionsContext.Provider>,
  );
}

afterEach(() => {
  cleanup();
  vi.clearAllMocks();
  localStorage.clear();
});

test('each message has the data attributes that end-to-end tests use', () => {
  show([entry({ key: 'k', id: 'id-1', seq: 7, userId: 'ann' })]);
  expect(screen.getByTestId('message').dataset).toMatchObject({
    messageId: 'id-1',
    seq: '7',
    author: 'ann',
    role: 'USER',
    status: 'sent',
  });
});

test('the assistant has a badge, independent of its name', () => {
  show([entry({ key: 'a', role: 'AI', userId: null }), entry({ key: 'b', userId: 'Assistant' })]);
  const [assistant, impostor] = screen.getAllByRole('group');
  if (!assistant || !impostor) throw new Error('expected two groups');
  expect(within(assistant).getByText('AI')).toBeTruthy();
  expect(within(impostor).queryByText('AI')).toBeNull();
});

test('a failed message shows its error and can be retried or deleted', () => {
  show([entry({ key: 'k', userId: 'me', status: 'failed', error: new NetworkError('unreachable') })]);
  const alert = screen.getByRole('alert');
  expect(within(alert).getByText('Not sent. The server cannot be reached.')).toBeTruthy();
  fireEvent.click(screen.getByTestId('retry'));
  fireEvent.click(screen.getByTestId('discard'));
  expect(actions.retry).toHaveBeenCalledWith('k');
  expect(actions.discard).toHaveBeenCalledWith('k');
});

test('a message that is being sent shows whether it waits for the connection', () => {
  const message = entry({ key: 'k', userId: 'me', status: 'sending' });
  show([message]).unmount();
  show([message], false);
  expect(screen.getByText('Will be sent when the connection is back')).toBeTruthy();
});

test('a change of the language takes effect at once', () => {
  show([entry({ key: 'k', role: 'AI', userId: null })]);
  expect(screen.getByText('Assistant')).toBeTruthy();
  act(() => languageSetting.set('zh-Hant'));
  expect(screen.getByText('助理')).toBeTruthy();
});

test('only new messages of other users are announced, and the last five are kept', () => {
  const old = [entry({ key: 'old', userId: 'ann', content: 'before' })];
  const { rerender } = render(<Announcer messages={old} me="me" />);
  const log = screen.getByRole('log');
  expect(log.textContent).toBe('');
  const newMessages = ['1', '2', '3', '4', '5', '6'].map((key) => entry({ key, userId: 'ann', content: `new ${key}` }));
  const mine = entry({ key: 'mine', userId: 'me', content: 'my own' });
  rerender(
    <Announcer messages={[entry({ key: 'older', content: 'history' }), ...old, mine, ...newMessages]} me="me" />,
  );
  expect([...log.children].map((line) => line.textContent)).toEqual(
    ['2', '3', '4', '5', '6'].map((key) => `ann: new ${key}`),
  );
});

test('an edit may empty the text while a file stays', () => {
  const attachments = ['a', 'b'].map((id) => ({
    id,
    name: `${id}.txt`,
    type: 'text/plain',
    size: 1,
    width: null,
    height: null,
  }));
  show([entry({ key: 'k', id: 'id-1', userId: 'me', attachments })]);
  fireEvent.click(screen.getByTestId('edit'));
  const save = screen.getByTestId<HTMLButtonElement>('edit-save');
  expect(save.disabled).toBe(true);
  const field = screen.getByTestId('edit-field');
  const [first] = screen.getAllByTestId('edit-file-remove');
  fireEvent.change(field, { target: { value: ' ' } });
  if (first) fireEvent.click(first);
  expect(save.disabled).toBe(false);
  fireEvent.click(screen.getByTestId('edit-file-remove'));
  expect(save.disabled).toBe(true);
  fireEvent.change(field, { target: { value: 'without files' } });
  fireEvent.click(save);
  expect(actions.edit).toHaveBeenCalledWith('id-1', 'without files', ['a', 'b']);
});
