/** Mentions in a text that is being written: where one begins, and the names that are offered. */
import type { ChatEntry } from '@roomcast/react';

/** Maximum number of suggestions. */
const MAX_SUGGESTIONS = 8;
/** What mentions the assistant, whatever its name. */
const AI = 'ai';
// As on the server: no mention begins after a cased letter, a digit, `_`, `/` or `@`. U+FF20 is the sign of Chinese and
// Japanese input methods.
const BEGUN = /(?<![\p{Lu}\p{Ll}\p{N}_/@\uff20])[@\uff20]([^\s@\uff20]{0,64})$/u;

export interface BegunMention {
  /** Index of the sign. */
  readonly start: number;
  readonly text: string;
}

/** The mention that ends at the caret; null if there is none. */
export function begunMention(text: string, caret: number): BegunMention | null {
  const match = BEGUN.exec(text.slice(0, caret));
  return match === null ? null : { start: match.index, text: match[1] ?? '' };
}

/** The assistant, and the users that are online, have written loaded messages or are members. */
export function peopleOf(
  messages: readonly ChatEntry[],
  online: readonly string[],
  members: readonly string[],
  me: string,
): readonly string[] {
  const authors = messages.map((message) => message.userId).filter((userId) => userId !== null);
  return [AI, ...new Set([...online, ...authors.toReversed(), ...members])].filter((name) => name !== me);
}

export function suggestionsFor(people: readonly string[], text: string): readonly string[] {
  const wanted = text.toLowerCase();
  return people.filter((name) => name.toLowerCase().startsWith(wanted)).slice(0, MAX_SUGGESTIONS);
}

/** The text with the mention completed, and the caret after it. */
export function complete(text: string, caret: number, mention: BegunMention, name: string): [string, number] {
  const before = `${text.slice(0, mention.start)}@${name} `;
  return [before + text.slice(caret).replace(/^ /, ''), before.length];
}
