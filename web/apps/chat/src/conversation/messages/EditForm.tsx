/** Edits an own message: a stored one gets a new version, one that failed is sent anew. */
import type { Attachment } from '@roomcast/react';
import { type KeyboardEvent, type SubmitEvent, useRef, useState } from 'react';

import { rules } from '../../generated/rules.ts';
import { useStrings } from '../../i18n/language.ts';
import { excessLength, isComposing, toContent } from '../../text/input.ts';
import { Icon } from '../../ui/Icon.tsx';

interface Props {
  readonly content: string;
  readonly files: readonly Attachment[];
  /** The button that saves. */
  readonly label: string;
  /** @param removed - Ids of files. @returns Whether the text was saved. */
  readonly onSave: (content: string, removed: readonly string[]) => Promise<boolean>;
  readonly onClose: () => void;
}

export function EditForm({ content: before, files, label, onSave, onClose }: Props) {
  const { conversation: words, answer, files: fileWords } = useStrings();
  const [text, setText] = useState(before);
  const [removed, setRemoved] = useState<readonly string[]>([]);
  const [saving, setSaving] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);
  const content = toContent(text);
  const changed = content !== before || removed.length > 0;
  const empty = content === '' && files.length === removed.length;
  const savable = !empty && changed && excessLength(content, rules.content) === 0 && !saving;

  function save(): void {
    if (!savable) return;
    setSaving(true);
    void onSave(content, removed).then((saved) => {
      setSaving(false);
      if (saved) onClose();
    });
  }

  function onSubmit(event: SubmitEvent): void {
    event.preventDefault();
    save();
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (isComposing(event)) return;
    if (event.key === 'Escape') onClose();
    // As in the field of new messages.
    else if (event.key === 'Enter' && !event.shiftKey && event.target instanceof HTMLTextAreaElement) save();
    else return;
    event.preventDefault();
  }

  return (
    <form className="edit" onSubmit={onSubmit} onKeyDown={onKeyDown}>
      <textarea
        ref={field}
        className="field__input edit__field"
        data-testid="edit-field"
        aria-label={words.composer}
        // The user has just asked for this field.
        autoFocus
        onFocus={({ target }) => target.setSelectionRange(target.value.length, target.value.length)}
        rows={Math.min(8, text.split('\n').length + 1)}
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      {files.length > removed.length && (
        <ul className="uploads" aria-label={fileWords.files}>
          {files
            .filter(({ id }) => !removed.includes(id))
            .map(({ id, name }) => (
              <li key={id} className="upload" data-testid="edit-file">
                <Icon name="file" />
                <bdi className="upload__text upload__name">{name}</bdi>
                <button
                  type="button"
                  className="upload__remove"
                  data-testid="edit-file-remove"
                  aria-label={fileWords.removeNamed(name)}
                  title={fileWords.removeNamed(name)}
                  onClick={() => {
                    setRemoved([...removed, id]);
                    field.current?.focus();
                  }}
                >
                  <Icon name="close" />
                </button>
              </li>
            ))}
        </ul>
      )}
      <div className="edit__actions">
        <button type="button" className="button button--quiet" onClick={onClose}>
          {answer.cancel}
        </button>
        <button type="submit" className="button button--primary" data-testid="edit-save" disabled={!savable}>
          {label}
        </button>
      </div>
    </form>
  );
}
