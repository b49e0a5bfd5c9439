/** Describes a connection problem and the next step; empty without a problem. */
import type { ReactNode } from 'react';

import { describeError, requiresSignIn } from '../errors.ts';
import { useStrings } from '../i18n/language.ts';
import { Icon } from '../ui/Icon.tsx';
import type { ConnectionDisplay } from './connection.ts';

interface Props {
  readonly connection: ConnectionDisplay;
  readonly onSignIn: () => void;
}

export function ConnectionBanner({ connection, onSignIn }: Props) {
  const { connection: words, errors, identity } = useStrings();
  const { state, lost, overdue, error } = connection;

  function content(): ReactNode {
    if (state === 'connected') return null;
    if (state === 'offline') return words.offline;
    if (state === 'disconnected' && error !== null) {
      return (
        <>
          {words.denied} {describeError(error, errors)}
          {requiresSignIn(error) && (
            <button type="button" className="link" onClick={onSignIn}>
              {identity.signIn}
            </button>
          )}
        </>
      );
    }
    if (lost) return words.reconnecting;
    return overdue ? words.unreachable : null;
  }

  const shown = content();
  // The empty region stays mounted, because screen readers announce changes only in an existing live region.
  return (
    <div className="banner-region" role="status">
      {shown !== null && (
        <p className="banner" data-testid="connection-banner">
          <Icon name="alert" />
          <span>{shown}</span>
        </p>
      )}
    </div>
  );
}
