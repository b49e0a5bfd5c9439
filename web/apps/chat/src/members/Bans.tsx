/** The users that may not become members, for moderators. Read again when the number of members changes. */
import { useRoomcastClient } from '@roomcast/react';

import { useStrings } from '../i18n/language.ts';
import { Failure } from '../ui/Failure.tsx';
import { type Attempt, useLoaded } from '../ui/requests.ts';

interface Props {
  readonly chatId: string;
  readonly attempt: Attempt;
}

export function Bans({ chatId, attempt }: Props) {
  const { members: words } = useStrings();
  const { api } = useRoomcastClient();
  const { value, error, reload } = useLoaded(() => api.listBans(chatId));
  if (value === null || value.bans.length === 0) return <Failure error={error} />;
  return (
    <section className="members__section">
      <h3 className="panel__title">{words.bans}</h3>
      <ul>
        {value.bans.map(({ userId }) => (
          <li key={userId} className="members__entry" data-testid="banned">
            <bdi className="person__name">{userId}</bdi>
            <button
              type="button"
              className="link"
              data-testid="unban"
              onClick={() => void attempt(api.endBan(chatId, userId).then(reload))}
            >
              {words.unban}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
