/** Search in a list of people: the field, which long lists have, and the people that it leaves. */
import { type ReactNode, useState } from 'react';

/** With more people than this, the list has the field. */
const SEARCHED = 8;

export function usePeopleSearch<T>(
  people: readonly T[],
  nameOf: (person: T) => string,
  label: string,
): readonly [readonly T[], ReactNode] {
  const [wanted, setWanted] = useState('');
  if (people.length <= SEARCHED) return [people, null];
  const part = wanted.trim().toLowerCase();
  return [
    people.filter((person) => nameOf(person).toLowerCase().includes(part)),
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
  ];
}
