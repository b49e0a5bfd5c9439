/** What notifies the user of one chat: a part of the menu of the chat. */
import { type contract, useRoomcastClient } from '@roomcast/react';
import { useEffect, useState } from 'react';

import { describeError } from '../errors.ts';
import { useFormats, useStrings } from '../i18n/language.ts';
import { LevelField } from './LevelField.tsx';

/** Seconds. */
const MUTES = { hour: 3_600, day: 86_400, week: 604_800 } as const;

interface Props {
  readonly chatId: string;
  readonly me: string;
  /** Called after a change. */
  readonly onChange: () => void;
}

export function ChatNotifications({ chatId, me, onChange }: Props) {
  const { notifications: words, errors } = useStrings();
  const formats = useFormats();
  const { api } = useRoomcastClient();
  const [settings, setSettings] = useState<contract.ChatNotifications | null>(null);
  const [failure, setFailure] = useState<unknown>(null);
  useEffect(() => {
    let current = true;
    api.getNotifications(chatId, me).then(
      (found) => current && setSettings(found),
      (error: unknown) => current && setFailure(error),
    );
    return () => {
      current = false;
    };
  }, [api, chatId, me]);

  function change(changed: contract.ChangeNotifications): void {
    setFailure(null);
    api.changeNotifications(chatId, changed, me).then((found) => {
      setSettings(found);
      onChange();
    }, setFailure);
  }

  return (
    <div className="ai-settings__form" role="group" aria-label={words.title}>
      {settings !== null && (
        <>
          <LevelField
            label={words.chatLabel}
            testId="chat-level"
            options={{ default: words.default, ...words.levels }}
            value={settings.level}
            onChange={(level) => change({ level })}
          />
          {settings.mutedUntil === null ? (
            <div className="mutes" role="group" aria-label={words.mute}>
              <span className="field__label">{words.mute}</span>
              {(Object.keys(MUTES) as (keyof typeof MUTES)[]).map((key) => (
                <button
                  key={key}
                  type="button"
                  className="button button--outline"
                  data-testid={`mute-${key}`}
                  onClick={() => change({ mutedFor: MUTES[key] })}
                >
                  {words.mutes[key]}
                </button>
              ))}
            </div>
          ) : (
            <div className="mutes">
              <span data-testid="muted-until">{words.mutedUntil(formats.full(new Date(settings.mutedUntil)))}</span>
              <button
                type="button"
                className="button button--outline"
                data-testid="unmute"
                onClick={() => change({ mutedFor: 0 })}
              >
                {words.unmute}
              </button>
            </div>
          )}
        </>
      )}
      {failure !== null && (
        <p className="field__error" role="alert">
          {describeError(failure, errors)}
        </p>
      )}
    </div>
  );
}
