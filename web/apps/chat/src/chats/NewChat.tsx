/** A button that opens a form to create a chat with a title. */
import { type SubmitEvent, type KeyboardEvent, useRef, useState } from 'react';

import { describeError } from '../errors.ts';
import { useStrings } from '../i18n/language.ts';
import { Icon } from '../ui/Icon.tsx';
import { MAX_TITLE } from './titles.ts';

interface Props {
  /** Creates the chat and opens it; rejects with a `RoomcastError`. */
  readonly onCreate: (title: string) => Promise<void>;
}

type State =
  | { readonly step: 'closed' }
  | { readonly step: 'open' }
  | { readonly step: 'creating' }
  | { readonly step: 'failed'; readonly error: unknown };

export function NewChat({ onCreate }: Props) {
  const { chats: words, errors } = useStrings();
  const [state, setState] = useState<State>({ step: 'closed' });
  const [title, setTitle] = useState('');
  const opener = useRef<HTMLButtonElement>(null);

  function close(): void {
    setState({ step: 'closed' });
    setTitle('');
  }

  function onSubmit(event: SubmitEvent): void {
    event.preventDefault();
    const clean = title.trim().replaceAll(/\p{Cc}/gu, ' ');
    if (clean === '' || state.step === 'creating') return;
    setState({ step: 'creating' });
    onCreate(clean).then(close, (error: unknown) => setState({ step: 'failed', error }));
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (event.key !== 'Escape' || event.nativeEvent.isComposing) return;
    event.stopPropagation();
    close();
    // The button is mounted again by the next frame.
    requestAnimationFrame(() => opener.current?.focus());
  }

  if (state.step === 'closed') {
    return (
      <button
        ref={opener}
        type="button"
        className="button button--outline new-chat"
        data-testid="new-chat"
        onClick={() => setState({ step: 'open' })}
      >
        <Icon name="plus" />
        {words.create}
      </button>
    );
  }
  return (
    <form className="new-chat new-chat--open" onSubmit={onSubmit} onKeyDown={onKeyDown}>
      <input
        className="field__input"
        data-testid="new-chat-title"
        autoFocus
        value={title}
        maxLength={MAX_TITLE}
        aria-label={words.createTitle}
        placeholder={words.createPlaceholder}
        onChange={(event) => setTitle(event.target.value)}
      />
      {state.step === 'failed' && (
        <p className="field__error" role="alert">
          {describeError(state.error, errors)}
        </p>
      )}
      <div className="new-chat__actions">
        <button type="button" className="button button--quiet" onClick={close}>
          {words.cancel}
        </button>
        <button
          type="submit"
          className="button button--primary"
          data-testid="new-chat-submit"
          disabled={title.trim() === '' || state.step === 'creating'}
        >
          {words.createSubmit}
        </button>
      </div>
    </form>
  );
}
