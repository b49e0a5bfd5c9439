/** Texts that the user enters, in the form that the API accepts. */
import type { KeyboardEvent } from 'react';

import { rules } from '../generated/rules.ts';

/** The content to send: trimmed, without U+0000 and lone surrogates; empty if no character is visible. */
export function toContent(text: string): string {
  const content = text
    .replaceAll('\0', '')
    .trim()
    .replaceAll(/\p{Surrogate}/gu, '\u{FFFD}');
  return rules.content.pattern.test(content) ? content : '';
}

/** The title to send: as `toContent`, on one line. */
export function toTitle(text: string): string {
  return toContent(text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]/gu, ' '));
}

/** Number of code points beyond the limit of a content or title; 0 if the text is short enough. */
export function excessLength(text: string, { maxLength }: { readonly maxLength: number }): number {
  // A text has at least as many UTF-16 code units as code points, so most texts need no counting.
  if (text.length <= maxLength) return 0;
  const pairs = text.match(/[\u{10000}-\u{10FFFF}]/gu)?.length ?? 0;
  return Math.max(0, text.length - pairs - maxLength);
}

/** True if the key press accepts a candidate of an input method (IME), so that it must not send the text. */
export function isComposing(event: KeyboardEvent): boolean {
  // Safari ends the composition before this event; only the legacy key code 229 identifies it.
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- no alternative in Safari
  return event.nativeEvent.isComposing || event.keyCode === 229;
}
