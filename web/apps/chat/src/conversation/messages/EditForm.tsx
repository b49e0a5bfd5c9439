/** Edits an own message: a stored one gets a new version, one that failed is sent anew. */
import { type KeyboardEvent, type SubmitEvent, useState } from 'react';

import { rules } from '../../generated/rules.ts';
import { useStrings } from '../../i18n/language.ts';
import { excessLength, isComposing, toContent } from '../../text/input.ts';

interface Props {
  readonly content: string;
  /** The button that saves. */
  readonly label: string;
  /** @returns Whether the text was saved. */
  readonly onSave: (content: string) => Promise<boolean>;
  readonly onClose: () => void;
}

export function EditForm({ content: before, label, onSave, onClose }: Props) {
  const { conversation: words, answer } = useStrings();
  const [text, setText] = useState(before);
  const [saving, setSaving] = useState(false);
  const content = toContent(text);
  const savable = content !== '' && content !== before && excessLength(content, rules.content) === 0 && !saving;

  function save(): void {
    if (!savable) return;
    setSaving(true);
    void onSave(content).then((saved) => {
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
