/** A button that opens the members of the chat: their roles and presence, additions, invite links and bans. */
import { type RoomcastError, useMembers, usePresence, useRoomcastClient } from '@roomcast/react';
import { type SubmitEvent, useCallback, useState } from 'react';

import { describeError } from '../errors.ts';
import { useStrings } from '../i18n/language.ts';
import { HeaderPanel } from '../ui/HeaderPanel.tsx';
import { Bans } from './Bans.tsx';
import { Invites } from './Invites.tsx';
import { MemberRow } from './MemberRow.tsx';
import { Reports } from './Reports.tsx';

/** With more members than this, the list has a search field. */
const SEARCHED = 8;

interface Props {
  readonly chatId: string;
  readonly me: string;
}

export function MembersPanel({ chatId, me }: Props) {
  const { members: words } = useStrings();
  const [open, setOpen] = useState(false);
  return (
    <HeaderPanel title={words.title} icon="people" testId="members" className="ai-settings members" onToggle={setOpen}>
      {open && <Members chatId={chatId} me={me} />}
    </HeaderPanel>
  );
}

function Members({ chatId, me }: Props) {
  const { members: words, errors } = useStrings();
  const client = useRoomcastClient();
  const { members, error } = useMembers(chatId);
  const { online } = usePresence(chatId);
  const [wanted, setWanted] = useState('');
  const [failure, setFailure] = useState<RoomcastError | null>(null);
  const own = members?.find(({ userId }) => userId === me);
  // Without authentication there may be no members, and no restriction applies.
  const role = own?.role ?? 'owner';
  const found = members?.filter(({ userId }) => userId.toLowerCase().includes(wanted.trim().toLowerCase())) ?? [];
  const shown = failure ?? error;

  const attempt = useCallback((action: Promise<unknown>): void => {
    setFailure(null);
    action.catch(setFailure);
  }, []);

  function add(event: SubmitEvent<HTMLFormElement>): void {
    event.preventDefault();
    const form = event.currentTarget;
    const userId = (new FormData(form).get('userId') as string).trim();
    if (userId === '') return;
    attempt(client.api.addMember(chatId, userId).then(() => form.reset()));
  }

  return (
    <>
      {found.length + wanted.length > SEARCHED && (
        <input
          type="search"
          className="presence-list__search"
          aria-label={words.search}
          placeholder={words.search}
          value={wanted}
          onChange={(event) => setWanted(event.target.value)}
        />
      )}
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
      {shown !== null && (
        <p className="field__error" role="alert">
          {describeError(shown, errors)}
        </p>
      )}
    </>
  );
}
