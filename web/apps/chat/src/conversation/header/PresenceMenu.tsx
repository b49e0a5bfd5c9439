/** Users who are online in the chat: a button with avatars and a count, which opens the list of names. */
import { type RoomcastError, usePresence, useRoomcastClient } from '@roomcast/react';
import { useId, useState } from 'react';

import { describeError } from '../../errors.ts';
import { useFormats, useStrings } from '../../i18n/language.ts';
import { openChat } from '../../routing/route.ts';
import { Avatar } from '../../ui/Avatar.tsx';

/** Maximum number of avatars on the button. */
const MAX_AVATARS = 3;
/** Maximum number of names in the label of the button; the list contains all names. */
const MAX_NAMES = 5;
/** With more people than this, the list has a search field. */
const SEARCHED = 8;

interface Props {
  readonly chatId: string;
  readonly me: string;
}

export function PresenceMenu({ chatId, me }: Props) {
  const { presence: words, conversation, errors } = useStrings();
  const { chats } = useRoomcastClient();
  const formats = useFormats();
  const { online, stale } = usePresence(chatId);
  const listId = useId();
  const [wanted, setWanted] = useState('');
  const [failure, setFailure] = useState<RoomcastError | null>(null);
  function write(userId: string): void {
    setFailure(null);
    chats.openDirectChat(userId, me).then(({ id }) => openChat(id), setFailure);
  }

  if (online.length === 0) return null;
  // The own user comes last.
  const people = [...online.filter((userId) => userId !== me), ...online.filter((userId) => userId === me)];
  const found = people.filter((userId) => userId.toLowerCase().includes(wanted.trim().toLowerCase()));
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
        title={label}
        popoverTarget={listId}
      >
        {/* Not as aria-label: speech input expects the visible text in it. */}
        <span className="visually-hidden">{label}</span>
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
        {people.length > SEARCHED && (
          <input
            type="search"
            className="presence-list__search"
            data-testid="presence-search"
            aria-label={words.search}
            placeholder={words.search}
            value={wanted}
            onChange={(event) => setWanted(event.target.value)}
          />
        )}
        <ul>
          {found.map((userId) => (
            <li key={userId} className="presence-list__person">
              <span className={stale ? 'face face--stale' : 'face'}>
                <Avatar name={userId} />
              </span>
              <bdi className="presence-list__name">{userId}</bdi>
              {userId === me ? (
                <span className="presence-list__me">{conversation.you}</span>
              ) : (
                <button
                  type="button"
                  className="link"
                  data-testid="open-direct"
                  aria-label={words.writeTo(userId)}
                  onClick={() => write(userId)}
                >
                  {words.write}
                </button>
              )}
            </li>
          ))}
        </ul>
        {failure !== null && (
          <p className="field__error" role="alert">
            {describeError(failure, errors)}
          </p>
        )}
      </div>
    </>
  );
}
