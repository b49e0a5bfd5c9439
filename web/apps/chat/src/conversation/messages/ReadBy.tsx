/** The users that have read up to a message: small avatars, or their number; a list on request. */
import type { ChatEntry } from '@roomcast/react';
import { useContext, useId } from 'react';

import { useFormats, useStrings } from '../../i18n/language.ts';
import { Avatar } from '../../ui/Avatar.tsx';
import { MAX_FACES, ReceiptsContext } from './receipts.ts';

/** Names in the label of the button; the list has all. */
const MAX_NAMES = 5;
const MAX_LISTED = 100;

export function ReadBy({ message }: { readonly message: ChatEntry }) {
  const { receipts: words, presence } = useStrings();
  const formats = useFormats();
  const { at, readersOf } = useContext(ReceiptsContext);
  const listId = useId();
  const here = at.get(message.key);
  if (here === undefined) return null;
  const readers = readersOf(message);
  const names = readers.slice(0, MAX_NAMES);
  if (readers.length > MAX_NAMES) names.push(presence.more(readers.length - MAX_NAMES));
  const label = words.readBy(formats.list(names));
  return (
    <span className="read-by">
      <button type="button" className="read-by__button" data-testid="read-by" title={label} popoverTarget={listId}>
        <span className="visually-hidden">{label}</span>
        <span className="read-by__faces" aria-hidden="true">
          {here.length > MAX_FACES
            ? words.count(here.length)
            : here.map((userId) => <Avatar key={userId} name={userId} />)}
        </span>
      </button>
      <div id={listId} popover="auto" className="presence-list read-by__list" data-testid="read-by-list">
        <h2 className="presence-list__title">{words.title}</h2>
        <ul>
          {readers.slice(0, MAX_LISTED).map((userId) => (
            <li key={userId} className="presence-list__person">
              <Avatar name={userId} />
              <bdi className="presence-list__name">{userId}</bdi>
            </li>
          ))}
        </ul>
        {readers.length > MAX_LISTED && <p className="hint">{presence.more(readers.length - MAX_LISTED)}</p>}
      </div>
    </span>
  );
}
