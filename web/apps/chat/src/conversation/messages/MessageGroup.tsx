/** Consecutive messages of one author, with one avatar and name. */
import { memo } from 'react';

import { useStrings } from '../../i18n/language.ts';
import { Avatar } from '../../ui/Avatar.tsx';
import { MessageItem } from './MessageItem.tsx';
import { type Group, sameGroup } from './timeline.ts';

interface Props {
  readonly group: Group;
  readonly online: boolean;
}

function side(group: Group): string {
  if (group.mine) return 'group group--mine';
  return group.role === 'AI' ? 'group group--ai' : 'group group--other';
}

export const MessageGroup = memo(
  function MessageGroup({ group, online }: Props) {
    const { conversation: words } = useStrings();
    const ai = group.role === 'AI';
    const name = ai ? (group.userId ?? words.ai) : (group.userId ?? words.someone);
    return (
      <div className={side(group)} role="group" aria-label={group.mine ? words.you : name}>
        {!group.mine && <Avatar name={name} ai={ai} />}
        <div className="group__body">
          {!group.mine && (
            <p className="group__author">
              <bdi>{name}</bdi>
              {ai && <span className="badge">{words.aiBadge}</span>}
            </p>
          )}
          <ol className="group__messages">
            {group.messages.map((message, index) => (
              <MessageItem
                key={message.key}
                message={message}
                showTime={index === group.messages.length - 1}
                mine={group.mine}
                online={online}
              />
            ))}
          </ol>
        </div>
      </div>
    );
  },
  (before, after) => before.online === after.online && sameGroup(before.group, after.group),
);
