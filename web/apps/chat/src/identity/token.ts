/** Reads the user id of an access token. Only the server decides whether the token is valid. */
import { rules } from '../generated/rules.ts';

function decodePart(part: string): unknown {
  const binary = atob(part.replaceAll('-', '+').replaceAll('_', '/'));
  const bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0));
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
}

/** Returns the subject; null if the text is not a JSON Web Token whose subject is a user id. */
export function readSubject(token: string): string | null {
  const parts = token.split('.');
  if (parts.length !== 3 || parts[1] === undefined) return null;
  try {
    const claims = decodePart(parts[1]);
    if (typeof claims !== 'object' || claims === null || !('sub' in claims)) return null;
    if (typeof claims.sub !== 'string' || /\p{Surrogate}/u.test(claims.sub)) return null;
    return rules.userId.pattern.test(claims.sub) ? claims.sub : null;
  } catch {
    // Invalid base64, UTF-8 or JSON.
    return null;
  }
}
