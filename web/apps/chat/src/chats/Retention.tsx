/** After how many days the messages of a chat are deleted: a part of the menu of the chat. */
import { useRoomcastClient } from '@roomcast/react';
import type { SubmitEvent } from 'react';

import { useStrings } from '../i18n/language.ts';
import { Failure } from '../ui/Failure.tsx';
import { useLoaded } from '../ui/requests.ts';

/** 0: never. */
const DAYS = [0, 1, 7, 30, 90, 365];

interface Props {
  readonly chatId: string;
  /** Called with the days; null: as the server is set. */
  readonly onSave: (days: number | null) => void;
}

export function Retention({ chatId, onSave }: Props) {
  const { chatMenu: words } = useStrings();
  const { api } = useRoomcastClient();
  const { value: chat, error } = useLoaded(() => api.getChat(chatId));
  const current = chat?.retentionDays ?? null;

  // With a button: a select sends each option that the arrow keys pass, and messages would be deleted.
  function save(event: SubmitEvent<HTMLFormElement>): void {
    event.preventDefault();
    const days = new FormData(event.currentTarget).get('days') as string;
    onSave(days === '' ? null : Number(days));
  }

  return (
    <>
      {chat !== null && (
        <form className="panel__form" onSubmit={save}>
          <label className="field">
            <span className="field__label">{words.retentionLabel}</span>
            <select
              className="field__input"
              name="days"
              data-testid="retention-days"
              defaultValue={current ?? ''}
              autoFocus
            >
              <option value="">{words.retentionDefault}</option>
              {[...new Set([...DAYS, current ?? 0])]
                .sort((a, b) => a - b)
                .map((days) => (
                  <option key={days} value={days}>
                    {words.retentionDays(days)}
                  </option>
                ))}
            </select>
          </label>
          <p className="hint">{words.retentionHint}</p>
          <button type="submit" className="button button--primary" data-testid="retention-save">
            {words.save}
          </button>
        </form>
      )}
      <Failure error={error} />
    </>
  );
}
