/** A button that opens a form to create a chat with a title. */
import { type SubmitEvent, type KeyboardEvent, useRef, useState } from 'react';

import { describeError } from '../errors.ts';
import { useStrings } from '../i18n/language.ts';
import { rules } from '../generated/rules.ts';
import { excessLength, toTitle } from '../text/input.ts';
import { Icon } from '../ui/Icon.tsx';

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
  const { chats: words, conversation, errors } = useStrings();
  const [state, setState] = useState<State>({ step: 'closed' });
  const [title, setTitle] = useState('');
  const opener = useRef<HTMLButtonElement>(null);

  const clean = toTitle(title);
  const over = excessLength(clean, rules.title);
  const valid = clean !== '' && over === 0;

  function close(): void {
    setState({ step: 'closed' });
    setTitle('');
  }

  function onSubmit(event: SubmitEvent): void {
    event.preventDefault();
    if (!valid || state.step === 'creating') return;
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
        aria-invalid={over > 0}
        aria-label={words.createTitle}
        placeholder={words.createPlaceholder}
        onChange={(event) => setTitle(event.target.value)}
      />
      {over > 0 && (
        <p className="field__error" role="status">
          {conversation.tooLong(over)}
        </p>
      )}
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
          disabled={!valid || state.step === 'creating'}
        >
          {words.createSubmit}
        </button>
      </div>
    </form>
  );
}
