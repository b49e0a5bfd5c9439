/** One member: name, role and mute; for those that may, its actions. */
import { type contract, useRoomcastClient } from '@roomcast/react';
import { useState } from 'react';

import { useFormats, useStrings } from '../i18n/language.ts';
import { Avatar } from '../ui/Avatar.tsx';
import type { Attempt } from '../ui/requests.ts';
import { managesMember, muteEnd, ROLES } from './roles.ts';

const HOUR_S = 3_600;

interface Props {
  readonly chatId: string;
  readonly member: contract.Member;
  /** The role of the user of the page. */
  readonly role: contract.MemberRole;
  readonly isMe: boolean;
  readonly online: boolean;
  readonly attempt: Attempt;
}

export function MemberRow({ chatId, member, role, isMe, online, attempt }: Props) {
  const { members: words, conversation } = useStrings();
  const formats = useFormats();
  const { api } = useRoomcastClient();
  const [now] = useState(Date.now);
  const { userId } = member;
  const muted = muteEnd(member, now);
  const status = [words.roles[member.role]];
  if (isMe) status.push(conversation.you);
  if (online) status.push(words.online);
  if (muted !== null) status.push(words.mutedUntil(formats.full(muted)));
  const manages = !isMe && managesMember(role, member.role);
  const text = (
    <>
      <span className={online ? 'face' : 'face face--stale'}>
        <Avatar name={userId} />
      </span>
      <span className="members__who">
        <bdi className="person__name">{userId}</bdi>
        <span className="members__status">{status.join(' · ')}</span>
      </span>
    </>
  );
  if (!manages && role !== 'owner')
    return (
      <li className="person" data-testid="member">
        {text}
      </li>
    );
  return (
    <li data-testid="member">
      <details>
        <summary className="person">{text}</summary>
        <div className="members__actions">
          {role === 'owner' && (
            <select
              className="field__input"
              data-testid="member-role"
              aria-label={words.roleOf(userId)}
              value={member.role}
              onChange={(event) =>
                void attempt(api.updateMember(chatId, userId, { role: event.target.value as contract.MemberRole }))
              }
            >
              {ROLES.map((value) => (
                <option key={value} value={value}>
                  {words.roles[value]}
                </option>
              ))}
            </select>
          )}
          {manages && (
            <>
              {member.role !== 'owner' && (
                <button
                  type="button"
                  className="button button--outline"
                  data-testid="member-mute"
                  onClick={() =>
                    void attempt(api.updateMember(chatId, userId, { mutedFor: muted === null ? HOUR_S : 0 }))
                  }
                >
                  {muted === null ? words.mute : words.unmute}
                </button>
              )}
              <button
                type="button"
                className="button button--outline"
                data-testid="member-remove"
                onClick={() => {
                  if (window.confirm(words.removeQuestion(userId))) void attempt(api.removeMember(chatId, userId));
                }}
              >
                {words.remove}
              </button>
              <button
                type="button"
                className="button button--outline"
                data-testid="member-ban"
                onClick={() => {
                  if (window.confirm(words.banQuestion(userId))) void attempt(api.ban(chatId, userId));
                }}
              >
                {words.ban}
              </button>
            </>
          )}
        </div>
      </details>
    </li>
  );
}
