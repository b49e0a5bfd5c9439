import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import type { ChatEntry, contract, MessagePart } from '@roomcast/react';
import { afterEach, expect, test, vi } from 'vitest';

import { AnswerParts } from '../../src/answer/AnswerParts.tsx';
import { ChatActionsContext } from '../../src/conversation/actions.ts';
import { Announcer } from '../../src/conversation/messages/Announcer.tsx';
import { MessageItem } from '../../src/conversation/messages/MessageItem.tsx';
import { en } from '../../src/i18n/en.ts';
import { zhHant } from '../../src/i18n/zh-Hant.ts';
import { chatActions } from '../conversation/chat-actions.ts';
import { entry } from '../conversation/entry.ts';

const actions = chatActions();

afterEach(() => {
  cleanup();
  vi.clearAllMocks();
});

function turn(status: contract.TurnStatus, reason: contract.TurnReason | null = null, generation = 1): contract.Turn {
  return { id: 't', messageId: 'q', status, reason, generation, last: 1 };
}

function answer(change: Partial<ChatEntry> = {}): ChatEntry {
  return entry({ key: 'a', role: 'AI', userId: null, parts: [], turn: turn('complete'), ...change });
}

function show(message: ChatEntry, mine = false) {
  return render(
    <ChatActionsContext.Provider value={actions}>
      <MessageItem message={message} mine={mine} showTime online />
    </ChatActionsContext.Provider>,
  );
}

test('reasoning is folded, and says while it grows', () => {
  const part: MessagePart = { type: 'reasoning', text: 'Hm', state: 'streaming' };
  const { rerender } = render(<AnswerParts parts={[part]} streaming />);
  expect(screen.getByText('Thinking…')).toBeTruthy();
  expect(screen.getByTestId<HTMLDetailsElement>('reasoning').open).toBe(false);
  rerender(<AnswerParts parts={[{ ...part, state: 'done' }]} streaming />);
  expect(screen.getByText('Reasoning')).toBeTruthy();
});

test('a tool call shows its state, input and result; sources and files are links', () => {
  render(
    <AnswerParts
      streaming={false}
      parts={[
        {
          type: 'dynamic-tool',
          toolCallId: 'c',
          toolName: 'search',
          state: 'output-available',
          input: { q: 1 },
          output: 'x',
        },
        { type: 'dynamic-tool', toolCallId: 'd', toolName: 'add', state: 'output-error', errorText: 'no number' },
        { type: 'source-url', sourceId: 's', url: 'https://a.example/', title: 'A' },
        { type: 'source-url', sourceId: 's2', url: 'javascript:alert(1)', title: 'Bad' },
        { type: 'file', url: 'data:text/plain,hi', mediaType: 'text/plain' },
        { type: 'data-x', data: { secret: 1 } },
      ]}
    />,
  );
  expect(screen.getAllByTestId('tool').map(({ textContent }) => textContent)).toEqual([
    'searchdoneInput{\n  "q": 1\n}Resultx',
    'addfailedResultno number',
  ]);
  expect(screen.getAllByRole('link').map((link) => link.getAttribute('href'))).toEqual([
    'data:text/plain,hi',
    'https://a.example/',
  ]);
});

test('an answer that has begun without a text says that it is being thought about, and is busy', () => {
  show(answer({ content: '', turn: turn('streaming') }));
  expect(screen.getByTestId('turn-state').textContent).toBe('Thinking…');
  expect(screen.getByTestId('message').getAttribute('aria-busy')).toBe('true');
});

test('a failed answer says why and can be tried again', () => {
  show(answer({ content: '', turn: turn('failed', 'provider-unreachable') }));
  expect(screen.getByText('There is no answer. The AI service cannot be reached.')).toBeTruthy();
  fireEvent.click(screen.getByTestId('regenerate'));
  expect(actions.regenerate).toHaveBeenCalledWith('t');
});

test('a queued question waits visibly, and can be cancelled; a replaced one says so', () => {
  show(entry({ key: 'q', turn: turn('queued', null, 0) }));
  fireEvent.click(screen.getByTestId('cancel-turn'));
  expect(actions.stop).toHaveBeenCalledWith('t');
  cleanup();
  show(entry({ key: 'q', turn: turn('stopped', 'replaced', 0) }));
  expect(screen.getByText('Not answered: a newer message took its place.')).toBeTruthy();
  cleanup();
  // The state of a turn with an answer is shown there.
  show(entry({ key: 'q', turn: turn('stopped', 'by-user') }));
  expect(screen.queryByTestId('turn-state')).toBeNull();
});

test('an earlier version is fetched and shown, and a new version replaces it', async () => {
  const text = (content: string): readonly MessagePart[] => [{ type: 'text', text: content, state: 'done' }];
  const second = answer({ id: 'v2', version: 2, parts: text('second') });
  actions.versions.mockResolvedValue([answer({ id: 'v1', version: 1, parts: text('first') }), second]);
  const { rerender } = show(second);
  expect(screen.getByTestId('versions').textContent).toBe('‹2/2›');
  fireEvent.click(screen.getByLabelText('Earlier version'));
  expect((await screen.findByText('first')).tagName).toBe('P');
  expect(screen.getByTestId('versions').textContent).toBe('‹1/2›');
  rerender(
    <ChatActionsContext.Provider value={actions}>
      <MessageItem message={answer({ id: 'v3', version: 3, parts: text('third') })} mine={false} showTime online />
    </ChatActionsContext.Provider>,
  );
  expect(screen.getByText('third')).toBeTruthy();
  expect(screen.getByTestId('versions').textContent).toBe('‹3/3›');
});

test('an own message can be edited; the field stays open if that fails', async () => {
  actions.edit.mockResolvedValueOnce(false);
  show(entry({ key: 'q', id: 'q', content: 'tpyo' }), true);
  fireEvent.click(screen.getByTestId('edit'));
  expect(screen.getByTestId<HTMLButtonElement>('edit-save').disabled).toBe(true);
  fireEvent.change(screen.getByTestId('edit-field'), { target: { value: 'typo' } });
  fireEvent.click(screen.getByTestId('edit-save'));
  await vi.waitFor(() => expect(screen.getByTestId<HTMLButtonElement>('edit-save').disabled).toBe(false));
  fireEvent.click(screen.getByTestId('edit-save'));
  await vi.waitFor(() => expect(screen.queryByTestId('edit-field')).toBeNull());
  expect(actions.edit).toHaveBeenCalledWith('q', 'typo', []);
});

test('files are removed while a message is edited, and the focus stays in the field', async () => {
  const file = { name: 'a.txt', type: 'text/plain', size: 1, width: null, height: null };
  show(
    entry({
      key: 'q',
      id: 'q',
      content: 'see',
      attachments: [
        { ...file, id: 'f' },
        { ...file, id: 'g', name: 'b.txt' },
      ],
    }),
    true,
  );
  fireEvent.click(screen.getByTestId('edit'));
  fireEvent.click(screen.getByLabelText('Remove b.txt'));
  expect(screen.getAllByTestId('edit-file').map(({ textContent }) => textContent)).toEqual(['a.txt']);
  expect(document.activeElement).toBe(screen.getByTestId('edit-field'));
  fireEvent.click(screen.getByTestId('edit-save'));
  await vi.waitFor(() => expect(screen.queryByTestId('edit-field')).toBeNull());
  expect(actions.edit).toHaveBeenCalledWith('q', 'see', ['g']);
});

test('the start and the end of an answer are announced, not its growth', () => {
  const { container, rerender } = render(<Announcer messages={[entry({ key: 'q' })]} me="me" />);
  const spoken = (...messages: ChatEntry[]): string[] => {
    rerender(<Announcer messages={[entry({ key: 'q' }), ...messages]} me="me" />);
    return [...container.querySelectorAll('p')].map(({ textContent }) => textContent);
  };
  expect(spoken(answer({ turn: turn('streaming'), content: 'a' }))).toEqual(['Assistant is answering']);
  expect(spoken(answer({ turn: turn('streaming'), content: 'a b' }))).toEqual(['Assistant is answering']);
  expect(spoken(answer({ turn: turn('complete'), content: 'a b c' }))).toEqual(['Assistant: a b c']);
  expect(spoken(answer({ turn: turn('stopped', 'by-user'), content: 'x'.repeat(500) }))).toEqual([
    'Assistant: The answer is complete. Stopped by a member of the chat.',
  ]);
});

test('every reason has words in both languages', () => {
  for (const words of [en, zhHant]) {
    for (const [reason, text] of Object.entries(words.answer.reasons))
      if (reason !== 'by-user') expect(text).not.toBe('');
  }
});
