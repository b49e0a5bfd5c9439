/** What may be sent as a message, as the API takes it. */

/** Longest message in code points. */
export const MAX_CONTENT = 32_768;

/** The text as it is sent: without surrounding blank space and without what no database takes. */
export function toContent(text: string): string {
  return text
    .trim()
    .replaceAll('\0', '')
    .replaceAll(/\p{Surrogate}/gu, '\u{FFFD}');
}

/** By how many code points a text is too long; 0 if it is not. */
export function excess(text: string): number {
  // A code point has one or two units: most texts need no counting.
  if (text.length <= MAX_CONTENT) return 0;
  const pairs = text.match(/[\u{10000}-\u{10FFFF}]/gu)?.length ?? 0;
  return Math.max(0, text.length - pairs - MAX_CONTENT);
}
