/** Finds web and mail addresses in plain text; the text is never interpreted as markup. */

export type Piece =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'link'; readonly text: string; readonly href: string };

// ASCII only: Chinese text has no space between an address and the following words.
const ADDRESS = /(?:https?:\/\/|(?<![A-Za-z0-9.@/_-])(?:www\.|mailto:))[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=%]+/gi;
const MAIL = /^mailto:[^@]+@[^@]+\.[^@]+$/i;

const TRAILING_PUNCTUATION = ".,;:!?'*";

/**
 * Removes trailing punctuation and unopened brackets: `(see https://a.example/b).`
 *
 * The brackets are counted once, in linear time, so that a message of 32,768 brackets does not freeze the page.
 */
function trim(address: string): string {
  const surplus: Record<string, number> = { ')': 0, ']': 0 };
  for (const char of address) {
    if (char === ')' || char === ']') surplus[char] = (surplus[char] ?? 0) + 1;
    else if (char === '(') surplus[')'] = (surplus[')'] ?? 0) - 1;
    else if (char === '[') surplus[']'] = (surplus[']'] ?? 0) - 1;
  }
  let end = address.length;
  for (; end > 0; end -= 1) {
    const last = address.charAt(end - 1);
    const unopened = surplus[last] ?? 0;
    if (unopened > 0) surplus[last] = unopened - 1;
    else if (!TRAILING_PUNCTUATION.includes(last)) break;
  }
  return address.slice(0, end);
}

function hrefOf(text: string): string | null {
  const address = /^www\./i.test(text) ? `https://${text}` : text;
  if (/^mailto:/i.test(address)) return MAIL.test(address) ? address : null;
  if (!URL.canParse(address)) return null;
  const url = new URL(address);
  // An address with a user name or password is not linked: it usually disguises the host.
  return url.username === '' && url.password === '' ? url.href : null;
}

export function splitLinks(text: string): Piece[] {
  const pieces: Piece[] = [];
  let from = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = trim(match[0]);
    const href = hrefOf(address);
    if (href === null) continue;
    if (match.index > from) pieces.push({ kind: 'text', text: text.slice(from, match.index) });
    pieces.push({ kind: 'link', text: address, href });
    from = match.index + address.length;
  }
  if (from < text.length) pieces.push({ kind: 'text', text: text.slice(from) });
  return pieces;
}
