/** A button that opens the members of the chat: their roles and presence, additions, invite links and bans. */
import { useMembers, usePresence, useRoomcastClient } from '@roomcast/react';
import type { SubmitEvent } from 'react';

import { useStrings } from '../i18n/language.ts';
import { Failure } from '../ui/Failure.tsx';
import { Icon } from '../ui/Icon.tsx';
import { Panel } from '../ui/Panel.tsx';
import { useAttempt } from '../ui/requests.ts';
import { usePeopleSearch } from '../ui/usePeopleSearch.tsx';
import { Bans } from './Bans.tsx';
import { Invites } from './Invites.tsx';
import { MemberRow } from './MemberRow.tsx';
import { Reports } from './Reports.tsx';

interface Props {
  readonly chatId: string;
  readonly me: string;
}

export function MembersPanel(props: Props) {
  const { members: words } = useStrings();
  return (
    <Panel title={words.title} face={<Icon name="people" />} testId="members" panelClass="panel--wide members">
      {() => <Members {...props} />}
    </Panel>
  );
}

function Members({ chatId, me }: Props) {
  const { members: words } = useStrings();
  const client = useRoomcastClient();
  const { members, error } = useMembers(chatId);
  const { online } = usePresence(chatId);
  const [failure, attempt] = useAttempt();
  const [found, search, more] = usePeopleSearch(members ?? [], ({ userId }) => userId, words.search);
  const own = members?.find(({ userId }) => userId === me);
  // Without authentication there may be no members, and no restriction applies.
  const role = own?.role ?? 'owner';

  function add(event: SubmitEvent<HTMLFormElement>): void {
    event.preventDefault();
    const form = event.currentTarget;
    const userId = (new FormData(form).get('userId') as string).trim();
    if (userId === '') return;
    void attempt(client.api.addMember(chatId, userId).then(() => form.reset()));
  }

  return (
    <>
      {search}
      <ul className="members__list">
        {found.map((member) => (
          <MemberRow
            key={member.userId}
            chatId={chatId}
            member={member}
            role={role}
            isMe={member.userId === me}
            online={online.includes(member.userId)}
            attempt={attempt}
          />
        ))}
      </ul>
      {more}
      {role !== 'reader' && (
        <form className="members__form" onSubmit={add}>
          <input
            className="field__input"
            name="userId"
            data-testid="member-name"
            aria-label={words.addName}
            placeholder={words.addName}
            maxLength={128}
            autoComplete="off"
          />
          <button type="submit" className="button button--outline" data-testid="member-add">
            {words.add}
          </button>
        </form>
      )}
      {own !== undefined && role !== 'reader' && <Invites chatId={chatId} role={role} attempt={attempt} />}
      {own !== undefined && (role === 'owner' || role === 'moderator') && (
        <>
          <Reports chatId={chatId} attempt={attempt} />
          <Bans key={members?.length} chatId={chatId} attempt={attempt} />
        </>
      )}
      <Failure error={failure ?? error} />
    </>
  );
}
