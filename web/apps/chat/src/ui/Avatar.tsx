/** The initial of a user on a colour, or the icon of the assistant. Decorative: the name is also shown as text. */
import { Icon } from './Icon.tsx';

const COLOURS = 8;

/** A stable number from 0 to 7 for a name. */
export function colourOf(name: string): number {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) % 65_521;
  return hash % COLOURS;
}

/** The first grapheme; an emoji of several code points is one grapheme. */
function initialOf(name: string): string {
  const [first] = new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(name.trim());
  return first?.segment.toLocaleUpperCase() ?? '?';
}

interface Props {
  readonly name: string;
  readonly ai?: boolean;
}

export function Avatar({ name, ai = false }: Props) {
  return (
    <span className={ai ? 'avatar avatar--ai' : `avatar avatar--${colourOf(name)}`} aria-hidden="true">
      {ai ? <Icon name="sparkle" /> : initialOf(name)}
    </span>
  );
}
