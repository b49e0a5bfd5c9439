/** A button that opens the settings of the chat's AI: which messages are answered, the model and its instructions. */
import { type contract, type RoomcastError, useRoomcastClient } from '@roomcast/react';
import { type SubmitEvent, useRef, useState } from 'react';

import { describeError } from '../../errors.ts';
import { useStrings } from '../../i18n/language.ts';
import { HeaderPanel } from '../../ui/HeaderPanel.tsx';

const ANSWERS = ['always', 'mention', 'never'] as const;
const WHEN_ACTIVE = ['queue', 'latest', 'reject'] as const;

export function AiSettings({ chatId }: { readonly chatId: string }) {
  const { ai: words, errors } = useStrings();
  const client = useRoomcastClient();
  const panel = useRef<HTMLDivElement>(null);
  const [settings, setSettings] = useState<contract.AiSettings | null>(null);
  const [failure, setFailure] = useState<RoomcastError | null>(null);

  function load(open: boolean): void {
    setFailure(null);
    setSettings(null);
    if (open) client.api.getChat(chatId).then(({ ai }) => setSettings(ai), setFailure);
  }

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
    setFailure(null);
    client
      .chat(chatId)
      .setAi(changed)
      .then(() => panel.current?.hidePopover(), setFailure);
  }

  return (
    <HeaderPanel
      title={words.title}
      icon="sparkle"
      testId="ai-settings"
      className="ai-settings"
      panel={panel}
      onToggle={load}
    >
      {settings !== null && (
        <form className="ai-settings__form" onSubmit={save}>
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
      {failure !== null && (
        <p className="field__error" role="alert">
          {describeError(failure, errors)}
        </p>
      )}
    </HeaderPanel>
  );
}
