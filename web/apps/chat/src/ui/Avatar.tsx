/** A person's initial on their own colour; the assistant has its sign instead. Decoration: the name stands beside. */
import { Icon } from './Icon.tsx';

const COLOURS = 8;

/** A number from 0 to 7 that is always the same for one name. */
export function colourOf(name: string): number {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) % 65_521;
  return hash % COLOURS;
}

/** The first thing that a reader sees as one character: an emoji of several code points counts as one. */
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
