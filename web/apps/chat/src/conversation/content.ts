/** Message content in the form that the API accepts. */

/** Maximum length of a message, in code points. */
export const MAX_CONTENT = 32_768;

/** The content to send: trimmed, without U+0000, and with lone surrogates replaced. */
export function toContent(text: string): string {
  return text
    .trim()
    .replaceAll('\0', '')
    .replaceAll(/\p{Surrogate}/gu, '\u{FFFD}');
}

/** Number of code points beyond `MAX_CONTENT`; 0 if the text is short enough. */
export function excessLength(text: string): number {
  // A text has at least as many UTF-16 code units as code points, so most texts need no counting.
  if (text.length <= MAX_CONTENT) return 0;
  const pairs = text.match(/[\u{10000}-\u{10FFFF}]/gu)?.length ?? 0;
  return Math.max(0, text.length - pairs - MAX_CONTENT);
}
