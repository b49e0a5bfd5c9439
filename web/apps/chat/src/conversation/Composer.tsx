/** Where a message is written: Enter sends, Shift + Enter makes a new line, the field grows with its text. */
import { type SubmitEvent, type KeyboardEvent, useEffect, useId, useLayoutEffect, useRef } from 'react';

import { useStrings } from '../i18n/language.ts';
import { Icon } from '../ui/Icon.tsx';
import { excess, toContent } from './content.ts';
import { useDraft } from './useDraft.ts';

interface Props {
  readonly userId: string;
  readonly chatId: string;
  readonly onSend: (content: string) => void;
  /** With each change of the text: whether there is any. */
  readonly onTyping: (typing: boolean) => void;
}

/** Enter also accepts a candidate of an input method (Chinese, Japanese, Korean): that Enter is not ours. */
function isComposing(event: KeyboardEvent): boolean {
  // Safari ends the composition before this event and leaves only the old key code 229 to tell.
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- there is no other way in Safari
  return event.nativeEvent.isComposing || event.keyCode === 229;
}

export function Composer({ userId, chatId, onSend, onTyping }: Props) {
  const { conversation: words } = useStrings();
  const [draft, setDraft] = useDraft(userId, chatId);
  const field = useRef<HTMLTextAreaElement>(null);
  const hint = useId();
  const over = excess(draft);
  const content = toContent(draft);
  const sendable = content !== '' && over === 0;

  useLayoutEffect(() => {
    const element = field.current;
    if (element === null) return;
    // The style sheet bounds the height; through the object model it needs no inline style in the markup.
    element.style.height = 'auto';
    element.style.height = `${element.scrollHeight}px`;
  }, [draft]);

  useEffect(() => {
    // Where there is a keyboard one can write at once; on a phone it would cover half of the chat.
    if (window.matchMedia('(pointer: fine)').matches) field.current?.focus();
  }, []);

  function send(): void {
    if (!sendable) return;
    onSend(content);
    setDraft('');
    field.current?.focus();
  }

  function onChange(text: string): void {
    setDraft(text);
    onTyping(toContent(text) !== '');
  }

  function onSubmit(event: SubmitEvent): void {
    event.preventDefault();
    send();
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (event.key !== 'Enter' || event.shiftKey || isComposing(event)) return;
    event.preventDefault();
    send();
  }

  return (
    <form className="composer" onSubmit={onSubmit}>
      <div className="composer__box">
        <textarea
          ref={field}
          id="composer"
          className="composer__field"
          data-testid="composer"
          rows={1}
          value={draft}
          placeholder={words.placeholder}
          aria-label={words.composer}
          aria-describedby={hint}
          aria-invalid={over > 0}
          enterKeyHint="send"
          onChange={(event) => onChange(event.target.value)}
          onKeyDown={onKeyDown}
        />
        <button
          type="submit"
          className="composer__send"
          data-testid="send"
          aria-label={words.send}
          title={words.send}
          disabled={!sendable}
        >
          <Icon name="send" />
        </button>
      </div>
      <p id={hint} className={over > 0 ? 'composer__hint composer__hint--over' : 'composer__hint'} role="status">
        {over > 0 ? words.tooLong(over) : words.composerHint}
      </p>
    </form>
  );
}
