/**
 * The message field: Enter sends, Shift + Enter inserts a line break, and the field grows with its text. While an answer
 * is expected and the field is empty, its button stops the answer.
 */
import type { Attachment, ChatEntry } from '@roomcast/react';
import {
  type ClipboardEvent,
  type SubmitEvent,
  type KeyboardEvent,
  useEffect,
  useId,
  useLayoutEffect,
  useRef,
} from 'react';

import { useStrings } from '../../i18n/language.ts';
import { rules } from '../../generated/rules.ts';
import { excessLength, isComposing, toContent } from '../../text/input.ts';
import { summaryOf } from '../../text/summary.ts';
import { Icon } from '../../ui/Icon.tsx';
import { focusLastMessage } from '../messages/messageKeys.ts';
import { MentionList } from './MentionList.tsx';
import { UploadList } from './UploadList.tsx';
import { useMentions } from './useMentions.ts';
import { useDraft } from './useDraft.ts';
import { MAX_FILES, type Uploads } from './useUploads.ts';

interface Props {
  readonly userId: string;
  readonly chatId: string;
  /** Names that can be mentioned. */
  readonly people: readonly string[];
  readonly onSend: (content: string, files: readonly Attachment[]) => void;
  /** The files of the next message; null if the server accepts none. */
  readonly uploads: Uploads | null;
  /** Called on each change of the text; `typing` is false if the text is blank. */
  readonly onTyping: (typing: boolean) => void;
  /** Stops the active answer; null if there is none. */
  readonly onStop: (() => void) | null;
  /** The message that the next one replies to; null if there is none. */
  readonly replyTo: ChatEntry | null;
  readonly onCancelReply: () => void;
}

export function Composer({ userId, chatId, people, onSend, uploads, onTyping, onStop, replyTo, onCancelReply }: Props) {
  const { conversation: words, answer, files: fileWords, marks } = useStrings();
  const [draft, setDraft] = useDraft(userId, chatId);
  const field = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const hint = useId();
  const listId = useId();
  const mentions = useMentions(field, people, setDraft);
  const suggests = mentions.names.length > 0;
  const content = toContent(draft);
  const over = excessLength(content, rules.content);
  const files = uploads?.list.length ?? 0;
  const sendable = (content !== '' || files > 0) && over === 0 && uploads?.ready !== false;

  useLayoutEffect(() => {
    const element = field.current;
    if (element === null) return;
    // The style sheet limits the height. The Content Security Policy allows styles set through the CSSOM.
    element.style.height = 'auto';
    element.style.height = `${element.scrollHeight}px`;
  }, [draft]);

  useEffect(() => {
    // No focus on touch devices, where the on-screen keyboard would cover the chat.
    if (window.matchMedia('(pointer: fine)').matches) field.current?.focus();
  }, []);

  function send(): void {
    if (!sendable) return;
    onSend(content, uploads?.take() ?? []);
    setDraft('');
    mentions.close();
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
    if (!isComposing(event) && mentions.onKey(event)) return;
    if (event.key === 'Escape' && replyTo !== null) onCancelReply();
    if (event.key === 'ArrowUp' && draft === '') {
      event.preventDefault();
      focusLastMessage();
    }
    if (event.key !== 'Enter' || event.shiftKey || isComposing(event)) return;
    event.preventDefault();
    send();
  }

  function onPaste(event: ClipboardEvent): void {
    // A copied cell of a table is text and picture; the text is meant.
    if (uploads === null || event.clipboardData.types.includes('text/plain')) return;
    uploads.add([...event.clipboardData.files]);
  }

  return (
    <form className="composer" onSubmit={onSubmit}>
      {replyTo !== null && (
        <p className="composer__reply" role="status" data-testid="replying">
          <span className="composer__replied" dir="auto">
            {marks.replyingTo(replyTo.userId ?? words.ai)}: {summaryOf(replyTo.content, replyTo.attachments[0]?.name)}
          </span>
          <button type="button" className="link" onClick={onCancelReply}>
            {marks.cancel}
          </button>
        </p>
      )}
      {uploads !== null && <UploadList uploads={uploads} />}
      <div className="composer__box">
        {suggests && (
          <MentionList id={listId} names={mentions.names} active={mentions.active} onChoose={mentions.choose} />
        )}
        {uploads !== null && (
          <>
            <input
              ref={picker}
              type="file"
              multiple
              hidden
              data-testid="file-input"
              onChange={({ target }) => {
                uploads.add([...(target.files ?? [])]);
                target.value = ''; // The same file may be chosen again.
              }}
            />
            <button
              type="button"
              className="composer__attach"
              data-testid="attach"
              aria-label={fileWords.attach}
              title={fileWords.attach}
              disabled={files >= MAX_FILES}
              onClick={() => picker.current?.click()}
            >
              <Icon name="attach" />
            </button>
          </>
        )}
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
          aria-haspopup="listbox"
          {...(suggests && { 'aria-controls': listId, 'aria-activedescendant': `${listId}-${mentions.active}` })}
          onChange={(event) => {
            onChange(event.target.value);
            mentions.update(event.target);
          }}
          onSelect={(event) => mentions.update(event.currentTarget)}
          onBlur={mentions.close}
          onKeyDown={onKeyDown}
          onPaste={onPaste}
        />
        {onStop !== null && content === '' && files === 0 ? (
          <button
            // The key prevents that a click on the one button is released on the other.
            key="stop"
            type="button"
            className="composer__send composer__send--stop"
            data-testid="stop"
            aria-label={answer.stop}
            title={answer.stop}
            onClick={onStop}
          >
            <Icon name="stop" />
          </button>
        ) : (
          <button
            key="send"
            type="submit"
            className="composer__send"
            data-testid="send"
            aria-label={words.send}
            title={words.send}
            disabled={!sendable}
          >
            <Icon name="send" />
          </button>
        )}
      </div>
      <p id={hint} className={over > 0 ? 'composer__hint composer__hint--over' : 'composer__hint'} role="status">
        {over > 0 ? words.tooLong(over) : words.composerHint}
      </p>
    </form>
  );
}
