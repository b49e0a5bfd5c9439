/** Completion of mentions in the message field: what is suggested, and the keys that choose. */
import { type KeyboardEvent, type RefObject, useLayoutEffect, useRef, useState } from 'react';

import { type BegunMention, begunMention, complete, suggestionsFor } from './mentions.ts';

interface Mentions {
  /** Empty: nothing is suggested. */
  readonly names: readonly string[];
  readonly active: number;
  readonly choose: (name: string) => void;
  /** Called when the text or the caret has changed. */
  readonly update: (field: HTMLTextAreaElement) => void;
  readonly close: () => void;
  /** @returns True if the key was for the suggestions. Not called while an input method composes. */
  readonly onKey: (event: KeyboardEvent) => boolean;
}

export function useMentions(
  field: RefObject<HTMLTextAreaElement | null>,
  people: readonly string[],
  setText: (text: string) => void,
): Mentions {
  const [mention, setMention] = useState<BegunMention | null>(null);
  const [active, setActive] = useState(0);
  const caret = useRef<number | null>(null);
  const names = mention === null ? [] : suggestionsFor(people, mention.text);

  useLayoutEffect(() => {
    if (caret.current === null) return;
    field.current?.setSelectionRange(caret.current, caret.current);
    caret.current = null;
  });

  function choose(name: string): void {
    const element = field.current;
    if (element === null || mention === null) return;
    const [text, end] = complete(element.value, element.selectionStart, mention, name);
    caret.current = end;
    setText(text);
    setMention(null);
  }

  function onKey(event: KeyboardEvent): boolean {
    const chosen = names[active] ?? names[0];
    if (chosen === undefined) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) setActive((active + step + names.length) % names.length);
    else if (event.key === 'Escape') setMention(null);
    else if ((event.key === 'Enter' || event.key === 'Tab') && !event.shiftKey) choose(chosen);
    else return false;
    event.preventDefault();
    return true;
  }

  return {
    names,
    active: Math.min(active, Math.max(0, names.length - 1)),
    choose,
    update: (element) => {
      const begun =
        element.selectionStart === element.selectionEnd ? begunMention(element.value, element.selectionStart) : null;
      if (begun?.start !== mention?.start || begun?.text !== mention?.text) {
        setMention(begun);
        setActive(0);
      }
    },
    close: () => setMention(null),
    onKey,
  };
}
