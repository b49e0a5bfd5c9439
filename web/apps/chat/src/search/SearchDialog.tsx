/** Search of chats, people and messages, opened by Ctrl+K or its button: a combobox with one list of results. */
import { type ChatSummary, useMembers, usePresence, useSearch } from '@roomcast/react';
import { type KeyboardEvent, useEffect, useId, useRef, useState } from 'react';

import { titleOf } from '../chats/titles.ts';
import { describeError } from '../errors.ts';
import { useFormats, useStrings } from '../i18n/language.ts';
import { openChat, openMessage } from '../routing/route.ts';
import { Icon } from '../ui/Icon.tsx';
import { Marked } from './Marked.tsx';
import { type Result, findChats } from './results.ts';

/** The value of the assistant among the authors; those of users begin with `@`. */
const AI = 'AI';

interface Props {
  readonly chats: readonly ChatSummary[];
  readonly chatId: string | null;
  readonly me: string;
  readonly onClose: () => void;
}

export function SearchDialog({ chats, chatId, me, onClose }: Props) {
  const { search: words, chats: chatWords, conversation, errors } = useStrings();
  const formats = useFormats();
  const [text, setText] = useState('');
  const [author, setAuthor] = useState('');
  const [here, setHere] = useState(false);
  const [active, setActive] = useState(0);
  const dialog = useRef<HTMLDialogElement>(null);
  const listId = useId();
  const { members } = useMembers(chatId);
  const { online } = usePresence(chatId);
  const people = [...new Set([...(members?.map(({ userId }) => userId) ?? []), ...online])].sort((a, b) =>
    a.localeCompare(b),
  );
  const blank = text.trim() === '';
  const filtered = author !== '' || here;
  const found = useSearch(text, {
    // Without a text, the newest messages of the open chat are listed.
    chatId: here || blank ? (chatId ?? undefined) : undefined,
    role: author === AI ? 'AI' : undefined,
    author: author.startsWith('@') ? author.slice(1) : undefined,
  });
  const messages = found.hits.map((hit): Result => ({
    key: `m ${hit.messageId}`,
    kind: 'message',
    // Only the list has the users of a direct chat.
    title: titleOf(
      chats.find(({ id }) => id === hit.chatId) ?? { id: hit.chatId, title: hit.chatTitle },
      chatWords,
      me,
    ),
    hit,
    open: () => openMessage(hit.chatId, hit.place),
  }));
  const results = [...(filtered ? [] : findChats(chats, text, chatWords, me, openChat)), ...messages];
  const current = Math.min(active, results.length - 1);

  useEffect(() => {
    dialog.current?.showModal();
  }, []);

  useEffect(() => {
    document.getElementById(`${listId}-${current}`)?.scrollIntoView({ block: 'nearest' });
  }, [listId, current]);

  function choose(result: Result | undefined): void {
    if (result === undefined) return;
    onClose();
    result.open();
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (event.nativeEvent.isComposing || results.length === 0) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) setActive((current + step + results.length) % results.length);
    else if (event.key === 'Enter') choose(results[current]);
    else return;
    event.preventDefault();
  }

  function state(): string {
    if (found.error !== null) return describeError(found.error, errors);
    if (blank && author === '') return words.hint;
    if (results.length === 0) return found.loading ? words.searching : words.nothing;
    return found.complete ? words.count(results.length) : words.incomplete;
  }

  return (
    <dialog
      ref={dialog}
      className="search"
      data-testid="search"
      aria-label={words.title}
      onClose={onClose}
      onClick={(event) => {
        if (event.target === event.currentTarget) event.currentTarget.close();
      }}
    >
      <div className="search__head">
        <Icon name="search" />
        <input
          type="text"
          className="search__field"
          data-testid="search-field"
          role="combobox"
          aria-label={words.title}
          aria-expanded={results.length > 0}
          aria-controls={listId}
          aria-autocomplete="list"
          aria-activedescendant={results.length > 0 ? `${listId}-${current}` : undefined}
          placeholder={words.placeholder}
          maxLength={200}
          autoFocus
          value={text}
          onChange={(event) => {
            setText(event.target.value);
            setActive(0);
          }}
          onKeyDown={onKeyDown}
        />
        <button type="button" className="icon-button" aria-label={words.close} onClick={() => dialog.current?.close()}>
          <Icon name="close" />
        </button>
      </div>
      {chatId !== null && (
        <div className="search__filters">
          <label>
            {words.from}{' '}
            <select
              className="field__input"
              data-testid="search-author"
              value={author}
              onChange={(event) => {
                setAuthor(event.target.value);
                setActive(0);
              }}
            >
              <option value="">{words.anyone}</option>
              <option value={AI}>{conversation.ai}</option>
              {people.map((userId) => (
                <option key={userId} value={`@${userId}`}>
                  {userId === me ? conversation.you : userId}
                </option>
              ))}
            </select>
          </label>
          <label>
            <input
              type="checkbox"
              data-testid="search-here"
              checked={here}
              onChange={(event) => setHere(event.target.checked)}
            />{' '}
            {words.here}
          </label>
        </div>
      )}
      <ul id={listId} className="search__results" role="listbox" aria-label={words.results}>
        {results.map((result, index) => (
          <li
            key={result.key}
            id={`${listId}-${index}`}
            className="search__result"
            role="option"
            aria-selected={index === current}
            data-kind={result.kind}
            onClick={() => choose(result)}
          >
            <span className="search__title">
              <bdi>{result.title}</bdi>
              <span className="search__kind">
                {result.hit === undefined ? words[result.kind] : formats.short(new Date(result.hit.time), new Date())}
              </span>
            </span>
            {result.hit !== undefined && (
              <span className="search__snippet" dir="auto">
                <bdi>{result.hit.userId ?? conversation.ai}</bdi>: <Marked hit={result.hit} />
              </span>
            )}
          </li>
        ))}
      </ul>
      <p className="search__state" role="status">
        {state()}
      </p>
    </dialog>
  );
}
