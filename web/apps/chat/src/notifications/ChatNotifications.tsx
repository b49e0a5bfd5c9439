/** What notifies the user of one chat: a part of the menu of the chat. */
import { type contract, useRoomcastClient } from '@roomcast/react';

import { useFormats, useStrings } from '../i18n/language.ts';
import { Failure } from '../ui/Failure.tsx';
import { useAttempt, useLoaded } from '../ui/requests.ts';
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
  const { notifications: words } = useStrings();
  const formats = useFormats();
  const { api } = useRoomcastClient();
  const { value: settings, error, set } = useLoaded(() => api.getNotifications(chatId, me));
  const [failure, attempt] = useAttempt();

  function change(changed: contract.ChangeNotifications): void {
    void attempt(
      api.changeNotifications(chatId, changed, me).then((found) => {
        set(found);
        onChange();
      }),
    );
  }

  return (
    <div className="panel__form" role="group" aria-label={words.title}>
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
      <Failure error={failure ?? error} />
    </div>
  );
}
