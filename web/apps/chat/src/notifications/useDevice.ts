/** Notifications on this device, as a hook. */
import { useCallback, useEffect, useMemo, useState, useSyncExternalStore } from 'react';

import { type DeviceState, deviceSetting, renew, supported, turnOff, turnOn } from './device.ts';

export interface Device {
  readonly state: DeviceState;
  /** The browser does not permit notifications; only its own settings change that. */
  readonly denied: boolean;
  readonly busy: boolean;
  /** Call it from a click. */
  readonly toggle: () => void;
}

export function useDevice(userId: string, pushKey: string | null): Device {
  const setting = useMemo(() => deviceSetting(userId), [userId]);
  const state = useSyncExternalStore(setting.subscribe, setting.get);
  const [busy, setBusy] = useState(false);
  const [denied, setDenied] = useState(!supported || Notification.permission === 'denied');
  useEffect(() => void renew(userId, pushKey), [userId, pushKey]);
  const toggle = useCallback(() => {
    setBusy(true);
    const change = setting.get() === 'off' ? turnOn(userId, pushKey) : turnOff(userId).then(() => 'off' as const);
    void change
      .then((next) => {
        setting.set(next);
        setDenied(!supported || Notification.permission === 'denied');
      })
      .finally(() => setBusy(false));
  }, [setting, userId, pushKey]);
  return { state, denied, busy, toggle };
}
