/** A dot and a label for the connection state. On narrow screens, the label is visible only if not connected. */
import { useStrings } from '../i18n/language.ts';
import type { DisplayState } from './connection.ts';

export function ConnectionIndicator({ state }: { readonly state: DisplayState }) {
  const { connection: words } = useStrings();
  const label = words.short[state];
  return (
    <span
      className={`connection-state connection-state--${state}`}
      data-testid="connection-state"
      data-state={state}
      title={label}
    >
      <span className="connection-state__dot" aria-hidden="true" />
      <span className="connection-state__label">{label}</span>
    </span>
  );
}
