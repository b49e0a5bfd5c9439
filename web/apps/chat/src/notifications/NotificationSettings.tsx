/** A button at the foot of the sidebar, which opens the settings for notifications: of this device, and of all chats. */
import { type NotifyLevel, useRoomcastClient } from '@roomcast/react';

import { useStrings } from '../i18n/language.ts';
import { Failure } from '../ui/Failure.tsx';
import { Icon } from '../ui/Icon.tsx';
import { Panel } from '../ui/Panel.tsx';
import { useAttempt, useLoaded } from '../ui/requests.ts';
import { LevelField } from './LevelField.tsx';
import type { Device } from './useDevice.ts';

interface Props {
  readonly me: string;
  readonly device: Device;
  /** Called after a change. */
  readonly onChange: () => void;
}

export function NotificationSettings(props: Props) {
  const { notifications: words } = useStrings();
  return (
    <Panel
      title={words.title}
      face={<Icon name={props.device.state === 'off' ? 'bellOff' : 'bell'} />}
      buttonClass="setting"
      panelClass="notification-settings"
      testId="notification-settings"
    >
      {() => <Settings {...props} />}
    </Panel>
  );
}

function Settings({ me, device, onChange }: Props) {
  const { notifications: words } = useStrings();
  const { api } = useRoomcastClient();
  const { value, error, set } = useLoaded(() => api.getNotificationDefault(me));
  const [failure, attempt] = useAttempt();
  const on = device.state !== 'off';

  function change(level: NotifyLevel): void {
    void attempt(
      api.setNotificationDefault(level, me).then(() => {
        set({ level });
        onChange();
      }),
    );
  }

  return (
    <div className="panel__form">
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
      {value !== null && (
        <LevelField
          label={words.defaultLabel}
          testId="notification-default"
          options={words.levels}
          value={value.level}
          onChange={change}
        />
      )}
      <Failure error={failure ?? error} />
    </div>
  );
}
