/** Texts that the user enters, in the form that the API accepts. */
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
