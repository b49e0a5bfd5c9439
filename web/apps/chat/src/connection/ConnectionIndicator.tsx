/** Always there, never in the way: a dot, and in words whatever is not as it should be. */
import { useStrings } from '../i18n/language.ts';
import type { Reach } from './connection.ts';

export function ConnectionIndicator({ reach }: { readonly reach: Reach }) {
  const { connection: words } = useStrings();
  const label = words.short[reach];
  return (
    <span className={`reach reach--${reach}`} data-testid="connection-state" data-state={reach} title={label}>
      <span className="reach__dot" aria-hidden="true" />
      <span className="reach__label">{label}</span>
    </span>
  );
}
