/** Users who are online in the chat: a button with avatars and a count, which opens the list of names. */
import { usePresence } from '@roomcast/react';
import { useId } from 'react';

import { useFormats, useStrings } from '../i18n/language.ts';
import { Avatar } from '../ui/Avatar.tsx';

/** Maximum number of avatars on the button. */
const MAX_AVATARS = 3;
/** Maximum number of names in the label of the button; the list contains all names. */
const MAX_NAMES = 5;

interface Props {
  readonly chatId: string;
  readonly me: string;
}

export function PresenceMenu({ chatId, me }: Props) {
  const { presence: words, conversation } = useStrings();
  const formats = useFormats();
  const { online, stale } = usePresence(chatId);
  const listId = useId();
  if (online.length === 0) return null;
  // The own user comes last.
  const people = [...online.filter((userId) => userId !== me), ...online.filter((userId) => userId === me)];
  const nameOf = (userId: string): string => (userId === me ? conversation.you : userId);
  const names = people.slice(0, MAX_NAMES).map(nameOf);
  if (people.length > MAX_NAMES) names.push(words.more(people.length - MAX_NAMES));
  const label = words.summary(people.length, formats.list(names)) + (stale ? ` ${words.stale}` : '');
  return (
    <>
      <button
        type="button"
        className={stale ? 'presence presence--stale' : 'presence'}
        data-testid="presence"
        data-online={people.length}
        data-stale={stale}
        aria-label={label}
        title={label}
        popoverTarget={listId}
      >
        <span className="presence__faces" aria-hidden="true">
          {people.slice(0, MAX_AVATARS).map((userId) => (
            <span key={userId} className="face">
              <Avatar name={userId} />
            </span>
          ))}
        </span>
        <span className="presence__count" aria-hidden="true">
          {people.length}
        </span>
      </button>
      <div id={listId} popover="auto" className="presence-list" data-testid="presence-list">
        <h2 className="presence-list__title">{words.title}</h2>
        <ul>
          {people.map((userId) => (
            <li key={userId} className="presence-list__person">
              <span className={stale ? 'face face--stale' : 'face'}>
                <Avatar name={userId} />
              </span>
              <bdi className="presence-list__name">{userId}</bdi>
              {userId === me && <span className="presence-list__me">{conversation.you}</span>}
            </li>
          ))}
        </ul>
      </div>
    </>
  );
}
