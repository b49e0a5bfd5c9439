/** The suggestions for a mention, above the message field, which keeps the focus. */
import { useStrings } from '../../i18n/language.ts';
import { Avatar } from '../../ui/Avatar.tsx';

interface Props {
  readonly id: string;
  readonly names: readonly string[];
  readonly active: number;
  readonly onChoose: (name: string) => void;
}

export function MentionList({ id, names, active, onChoose }: Props) {
  const { search } = useStrings();
  return (
    <ul id={id} className="mentions" role="listbox" aria-label={search.mentions} data-testid="mentions">
      {names.map((name, index) => (
        <li
          key={name}
          id={`${id}-${index}`}
          className="mentions__name"
          role="option"
          aria-selected={index === active}
          // The field must not lose the focus.
          onPointerDown={(event) => event.preventDefault()}
          onClick={() => onChoose(name)}
        >
          <Avatar name={name} />
          <bdi>{name}</bdi>
        </li>
      ))}
    </ul>
  );
}
