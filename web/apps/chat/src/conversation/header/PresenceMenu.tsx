/** Users who are online in the chat: a button with avatars and a count, which opens the list of names. */
import { usePresence, useRoomcastClient } from '@roomcast/react';

import { useFormats, useStrings } from '../../i18n/language.ts';
import { openChat } from '../../routing/route.ts';
import { Avatar } from '../../ui/Avatar.tsx';
import { Failure } from '../../ui/Failure.tsx';
import { Panel } from '../../ui/Panel.tsx';
import { useAttempt } from '../../ui/requests.ts';
import { usePeopleSearch } from '../../ui/usePeopleSearch.tsx';

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
  if (online.length === 0) return null;
  // The own user comes last.
  const people = [...online.filter((userId) => userId !== me), ...online.filter((userId) => userId === me)];
  const names = people.slice(0, MAX_NAMES).map((userId) => (userId === me ? conversation.you : userId));
  if (people.length > MAX_NAMES) names.push(words.more(people.length - MAX_NAMES));
  const face = (
    <>
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
    </>
  );
  return (
    <Panel
      title={words.title}
      label={words.summary(people.length, formats.list(names)) + (stale ? ` ${words.stale}` : '')}
      face={face}
      buttonClass={stale ? 'presence presence--stale' : 'presence'}
      testId="presence"
      data={{ 'data-online': people.length, 'data-stale': stale }}
    >
      {() => <People people={people} me={me} stale={stale} />}
    </Panel>
  );
}

interface PeopleProps {
  readonly people: readonly string[];
  readonly me: string;
  readonly stale: boolean;
}

function People({ people, me, stale }: PeopleProps) {
  const { presence: words, conversation } = useStrings();
  const { chats } = useRoomcastClient();
  const [failure, attempt] = useAttempt();
  const [found, search, more] = usePeopleSearch(people, (userId) => userId, words.search);
  return (
    <>
      {search}
      <ul>
        {found.map((userId) => (
          <li key={userId} className="person">
            <span className={stale ? 'face face--stale' : 'face'}>
              <Avatar name={userId} />
            </span>
            <bdi className="person__name">{userId}</bdi>
            {userId === me ? (
              <span className="person__me">{conversation.you}</span>
            ) : (
              <button
                type="button"
                className="link"
                data-testid="open-direct"
                aria-label={words.writeTo(userId)}
                onClick={() => void attempt(chats.openDirectChat(userId, me).then(({ id }) => openChat(id)))}
              >
                {words.write}
              </button>
            )}
          </li>
        ))}
      </ul>
      {more}
      <Failure error={failure} />
    </>
  );
}
