/** Says that there is no connection, and what happens now. It goes silently when all is well again. */
import type { ReactNode } from 'react';

import { asksForSignIn, describeError } from '../errors.ts';
import { useStrings } from '../i18n/language.ts';
import { Icon } from '../ui/Icon.tsx';
import type { Connection } from './connection.ts';

interface Props {
  readonly connection: Connection;
  readonly onSignOut: () => void;
}

export function ConnectionBanner({ connection, onSignOut }: Props) {
  const { connection: words, errors, identity } = useStrings();
  const { reach, lost, overdue, error } = connection;

  function content(): ReactNode {
    if (reach === 'connected') return null;
    if (reach === 'offline') return words.offline;
    if (reach === 'disconnected' && error !== null) {
      return (
        <>
          {words.denied} {describeError(error, errors)}
          {asksForSignIn(error) && (
            <button type="button" className="link" onClick={onSignOut}>
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
  // The region stays, empty: screen readers only hear of changes inside one that they know.
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
