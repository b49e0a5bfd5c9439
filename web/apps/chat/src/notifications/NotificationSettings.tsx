/** A button at the foot of the sidebar, which opens the settings for notifications: of this device, and of all chats. */
import { type NotifyLevel, useRoomcastClient } from '@roomcast/react';
import { useId, useState } from 'react';

import { describeError } from '../errors.ts';
import { useStrings } from '../i18n/language.ts';
import { Icon } from '../ui/Icon.tsx';
import { LevelField } from './LevelField.tsx';
import type { Device } from './useDevice.ts';

interface Props {
  readonly me: string;
  readonly device: Device;
  /** Called after a change. */
  readonly onChange: () => void;
}

export function NotificationSettings({ me, device, onChange }: Props) {
  const { notifications: words, errors } = useStrings();
  const { api } = useRoomcastClient();
  const panelId = useId();
  const [level, setLevel] = useState<NotifyLevel | null>(null);
  const [failure, setFailure] = useState<unknown>(null);

  function read(): void {
    setFailure(null);
    api.getNotificationDefault(me).then((found) => setLevel(found.level), setFailure);
  }

  function change(next: NotifyLevel): void {
    setFailure(null);
    api.setNotificationDefault(next, me).then(() => {
      setLevel(next);
      onChange();
    }, setFailure);
  }

  const on = device.state !== 'off';
  return (
    <>
      <button
        type="button"
        className="setting"
        data-testid="notification-settings"
        aria-label={words.title}
        title={words.title}
        popoverTarget={panelId}
      >
        <Icon name={on ? 'bell' : 'bellOff'} />
      </button>
      <div
        id={panelId}
        popover="auto"
        className="presence-list notification-settings"
        data-testid="notification-panel"
        onToggle={(event) => event.newState === 'open' && read()}
      >
        <h2 className="presence-list__title">{words.title}</h2>
        <div className="ai-settings__form">
          <label className="switch">
            <input
              type="checkbox"
              role="switch"
              data-testid="notification-device"
              checked={on}
              disabled={device.busy || (device.denied && !on)}
              onChange={device.toggle}
            />
            <span>{words.thisDevice}</span>
          </label>
          <p className="hint" role="status" data-testid="notification-state" data-state={device.state}>
            {device.denied && !on ? words.denied : words.states[device.state]}
          </p>
          {level !== null && (
            <LevelField
              label={words.defaultLabel}
              testId="notification-default"
              options={words.levels}
              value={level}
              onChange={change}
            />
          )}
          {failure !== null && (
            <p className="field__error" role="alert">
              {describeError(failure, errors)}
            </p>
          )}
        </div>
      </div>
    </>
  );
}
