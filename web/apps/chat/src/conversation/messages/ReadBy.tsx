/** The users that have read up to a message: small avatars, or their number; a list on request. */
import type { ChatEntry } from '@roomcast/react';
import { useContext } from 'react';

import { useFormats, useStrings } from '../../i18n/language.ts';
import { Avatar } from '../../ui/Avatar.tsx';
import { Panel } from '../../ui/Panel.tsx';
import { MAX_FACES, ReceiptsContext } from './receipts.ts';

/** Names in the label of the button; the list has all. */
const MAX_NAMES = 5;
const MAX_LISTED = 100;

export function ReadBy({ message }: { readonly message: ChatEntry }) {
  const { receipts: words, presence } = useStrings();
  const formats = useFormats();
  const { at, readersOf } = useContext(ReceiptsContext);
  const here = at.get(message.key);
  if (here === undefined) return null;
  const readers = readersOf(message);
  const names = readers.slice(0, MAX_NAMES);
  if (readers.length > MAX_NAMES) names.push(presence.more(readers.length - MAX_NAMES));
  const face = (
    <span className="read-by__faces" aria-hidden="true">
      {here.length > MAX_FACES ? words.count(here.length) : here.map((userId) => <Avatar key={userId} name={userId} />)}
    </span>
  );
  return (
    <span className="read-by">
      <Panel
        title={words.title}
        label={words.readBy(formats.list(names))}
        face={face}
        buttonClass="read-by__button"
        panelClass="read-by__list"
        testId="read-by"
      >
        {() => (
          <>
            <ul>
              {readers.slice(0, MAX_LISTED).map((userId) => (
                <li key={userId} className="person">
                  <Avatar name={userId} />
                  <bdi className="person__name">{userId}</bdi>
                </li>
              ))}
            </ul>
            {readers.length > MAX_LISTED && <p className="hint">{presence.more(readers.length - MAX_LISTED)}</p>}
          </>
        )}
      </Panel>
    </span>
  );
}
