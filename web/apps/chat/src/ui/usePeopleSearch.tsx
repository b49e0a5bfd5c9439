/** Search in a list of people: the field, which long lists have, and the first of the people that it leaves. */
import { type ReactNode, useState } from 'react';

import { useStrings } from '../i18n/language.ts';

/** With more people than this, the list has the field. */
const SEARCHED = 8;
/** With thousands of rows the page would be slow. */
const SHOWN = 200;

/** @returns The people to show, the field, and below the list how many there are beside them. */
export function usePeopleSearch<T>(
  people: readonly T[],
  nameOf: (person: T) => string,
  label: string,
): readonly [readonly T[], ReactNode, ReactNode] {
  const { presence: words } = useStrings();
  const [wanted, setWanted] = useState('');
  if (people.length <= SEARCHED) return [people, null, null];
  const part = wanted.trim().toLowerCase();
  const found = people.filter((person) => nameOf(person).toLowerCase().includes(part));
  return [
    found.slice(0, SHOWN),
    <input
      key="search"
      type="search"
      className="panel__search"
      data-testid="people-search"
      aria-label={label}
      placeholder={label}
      value={wanted}
      onChange={(event) => setWanted(event.target.value)}
    />,
    found.length > SHOWN && <p className="hint">{words.more(found.length - SHOWN)}</p>,
  ];
}
