/** Creates invite links, and lists those that are valid. The link itself is shown once: the server stores no token. */
import { type contract, useRoomcastClient } from '@roomcast/react';
import { type SubmitEvent, useState } from 'react';

import { useStrings } from '../i18n/language.ts';
import { invitePath } from '../routing/route.ts';
import { Failure } from '../ui/Failure.tsx';
import { type Attempt, useLoaded } from '../ui/requests.ts';
import { useCopy } from '../ui/useCopy.ts';
import { ROLES } from './roles.ts';

const WEEK_S = 604_800;

interface Props {
  readonly chatId: string;
  readonly role: contract.MemberRole;
  readonly attempt: Attempt;
}

export function Invites({ chatId, role, attempt }: Props) {
  const { members: words } = useStrings();
  const { api } = useRoomcastClient();
  const { value, error, reload } = useLoaded(() => api.listInvites(chatId));
  const [url, setUrl] = useState('');
  const [copied, copy] = useCopy(url);

  function create(event: SubmitEvent<HTMLFormElement>): void {
    event.preventDefault();
    const given = new FormData(event.currentTarget).get('role') as contract.MemberRole;
    void attempt(
      api.createInvite(chatId, { role: given, expiresIn: WEEK_S }).then(({ token }) => {
        setUrl(new URL(invitePath(token), window.location.origin).href);
        reload();
      }),
    );
  }

  return (
    <section className="members__section">
      <h3 className="panel__title">{words.invites}</h3>
      <form className="members__form" onSubmit={create}>
        <select className="field__input" name="role" aria-label={words.inviteRole} defaultValue="member">
          {ROLES.filter((value) => value !== 'owner' && (role === 'owner' || value !== 'moderator')).map((value) => (
            <option key={value} value={value}>
              {words.roles[value]}
            </option>
          ))}
        </select>
        <button type="submit" className="button button--outline" data-testid="invite-create">
          {words.invite}
        </button>
      </form>
      {url !== '' && (
        <p className="members__form">
          <input
            className="field__input"
            data-testid="invite-link"
            aria-label={words.inviteLink}
            readOnly
            value={url}
            onFocus={(event) => event.target.select()}
          />
          {copy !== null && (
            <button type="button" className="button button--outline" data-testid="invite-copy" onClick={copy}>
              {copied ? words.copied : words.copy}
            </button>
          )}
        </p>
      )}
      <ul>
        {value?.invites.map((invite) => (
          <li key={invite.id} className="members__entry" data-testid="invite">
            <span>{words.uses(words.roles[invite.role], invite.uses)}</span>
            <button
              type="button"
              className="link"
              data-testid="invite-revoke"
              onClick={() => void attempt(api.revokeInvite(chatId, invite.id).then(reload))}
            >
              {words.revoke}
            </button>
          </li>
        ))}
      </ul>
      <Failure error={error} />
    </section>
  );
}
