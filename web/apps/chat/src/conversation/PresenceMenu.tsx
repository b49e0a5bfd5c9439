/** Who is in the chat now: a few faces and a number, which open the list of names. */
import { usePresence } from '@roomcast/react';
import { useId } from 'react';

import { useFormats, useStrings } from '../i18n/language.ts';
import { Avatar } from '../ui/Avatar.tsx';

const FACES = 3;
/** Names in the label; the list has all of them. */
const NAMED = 5;

interface Props {
  readonly chatId: string;
  readonly me: string;
}

export function Here({ chatId, me }: Props) {
  const { presence: words, conversation } = useStrings();
  const formats = useFormats();
  const { online, stale } = usePresence(chatId);
  const listId = useId();
  if (online.length === 0) return null;
  // The others first: that one is here oneself is no news.
  const people = [...online.filter((userId) => userId !== me), ...online.filter((userId) => userId === me)];
  const nameOf = (userId: string): string => (userId === me ? conversation.you : userId);
  const names = people.slice(0, NAMED).map(nameOf);
  if (people.length > NAMED) names.push(words.more(people.length - NAMED));
  const label = words.here(people.length, formats.list(names)) + (stale ? ` ${words.stale}` : '');
  return (
    <>
      <button
        type="button"
        className={stale ? 'here here--stale' : 'here'}
        data-testid="presence"
        data-online={people.length}
        data-stale={stale}
        aria-label={label}
        title={label}
        popoverTarget={listId}
      >
        <span className="here__faces" aria-hidden="true">
          {people.slice(0, FACES).map((userId) => (
            <span key={userId} className="face">
              <Avatar name={userId} />
            </span>
          ))}
        </span>
        <span className="here__count" aria-hidden="true">
          {people.length}
        </span>
      </button>
      <div id={listId} popover="auto" className="here-list" data-testid="presence-list">
        <h2 className="here-list__title">{words.title}</h2>
        <ul>
          {people.map((userId) => (
            <li key={userId} className="here-list__person">
              <span className={stale ? 'face face--stale' : 'face'}>
                <Avatar name={userId} />
              </span>
              <bdi className="here-list__name">{userId}</bdi>
              {userId === me && <span className="here-list__me">{conversation.you}</span>}
            </li>
          ))}
        </ul>
      </div>
    </>
  );
}
