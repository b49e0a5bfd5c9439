/** A button that opens the settings of the chat's AI: which messages are answered, the model and its instructions. */
import { type contract, useRoomcastClient } from '@roomcast/react';
import type { SubmitEvent } from 'react';

import { useStrings } from '../../i18n/language.ts';
import { Failure } from '../../ui/Failure.tsx';
import { Icon } from '../../ui/Icon.tsx';
import { Panel } from '../../ui/Panel.tsx';
import { useAttempt, useLoaded } from '../../ui/requests.ts';

const ANSWERS = ['always', 'mention', 'never'] as const;
const WHEN_ACTIVE = ['queue', 'latest', 'reject'] as const;

export function AiSettings({ chatId }: { readonly chatId: string }) {
  const { ai: words } = useStrings();
  return (
    <Panel title={words.title} face={<Icon name="sparkle" />} testId="ai-settings" panelClass="panel--wide">
      {(close) => <Settings chatId={chatId} onSaved={close} />}
    </Panel>
  );
}

function Settings({ chatId, onSaved }: { readonly chatId: string; readonly onSaved: () => void }) {
  const { ai: words } = useStrings();
  const client = useRoomcastClient();
  const { value, error } = useLoaded(() => client.api.getChat(chatId));
  const settings = value?.ai ?? null;
  const [failure, attempt] = useAttempt();

  function save(event: SubmitEvent<HTMLFormElement>): void {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    const text = (name: string): string | null => (fields.get(name) as string).trim() || null;
    const changed = {
      ...settings,
      answers: fields.get('answers'),
      whenActive: fields.get('whenActive'),
      model: text('model'),
      systemPrompt: text('systemPrompt'),
    } as contract.AiSettings;
    void attempt(client.chat(chatId).setAi(changed)).then((saved) => saved && onSaved());
  }

  return (
    <>
      {settings !== null && (
        <form className="panel__form" onSubmit={save}>
          <label className="field">
            <span className="field__label">{words.answers}</span>
            <select className="field__input" name="answers" defaultValue={settings.answers}>
              {ANSWERS.map((value) => (
                <option key={value} value={value}>
                  {words.answersOptions[value]}
                </option>
              ))}
            </select>
          </label>
          <label className="field">
            <span className="field__label">{words.whenActive}</span>
            <select className="field__input" name="whenActive" defaultValue={settings.whenActive}>
              {WHEN_ACTIVE.map((value) => (
                <option key={value} value={value}>
                  {words.whenActiveOptions[value]}
                </option>
              ))}
            </select>
          </label>
          <label className="field">
            <span className="field__label">{words.model}</span>
            <input
              className="field__input"
              name="model"
              defaultValue={settings.model ?? ''}
              placeholder={words.default}
              maxLength={128}
            />
          </label>
          <label className="field">
            <span className="field__label">{words.systemPrompt}</span>
            <textarea
              className="field__input"
              name="systemPrompt"
              rows={4}
              defaultValue={settings.systemPrompt ?? ''}
            />
          </label>
          <button type="submit" className="button button--primary" data-testid="ai-save">
            {words.save}
          </button>
        </form>
      )}
      <Failure error={failure ?? error} />
    </>
  );
}
