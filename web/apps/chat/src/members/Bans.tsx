/** The users that may not become members, for moderators. Read again when the number of members changes. */
import { type contract, useRoomcastClient } from '@roomcast/react';
import { useEffect, useState } from 'react';

import { useStrings } from '../i18n/language.ts';

interface Props {
  readonly chatId: string;
  readonly attempt: (action: Promise<unknown>) => void;
}

export function Bans({ chatId, attempt }: Props) {
  const { members: words } = useStrings();
  const { api } = useRoomcastClient();
  const [bans, setBans] = useState<readonly contract.Ban[]>([]);
  useEffect(() => {
    let current = true;
    // A failure leaves the list empty; it is read again when it is opened.
    api.listBans(chatId).then(
      (list) => {
        if (current) setBans(list.bans);
      },
      () => undefined,
    );
    return () => {
      current = false;
    };
  }, [api, chatId]);
  if (bans.length === 0) return null;
  return (
    <section className="members__section">
      <h3 className="presence-list__title">{words.bans}</h3>
      <ul>
        {bans.map(({ userId }) => (
          <li key={userId} className="members__entry" data-testid="banned">
            <bdi className="presence-list__name">{userId}</bdi>
            <button
              type="button"
              className="link"
              data-testid="unban"
              onClick={() =>
                attempt(
                  api
                    .endBan(chatId, userId)
                    .then(() => setBans((before) => before.filter((other) => other.userId !== userId))),
                )
              }
            >
              {words.unban}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
