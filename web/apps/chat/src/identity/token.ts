/** Decodes the claims of an access token. Only the server verifies its signature. */

export interface Claims {
  readonly userId: string;
  /** Milliseconds since 1970; null if the token does not expire. */
  readonly expiresAt: number | null;
}

function decodePart(part: string): unknown {
  const binary = atob(part.replaceAll('-', '+').replaceAll('_', '/'));
  const bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0));
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
}

/** Reads the claims; returns null if the text is not a JSON Web Token with a subject. */
export function readToken(token: string): Claims | null {
  const parts = token.split('.');
  if (parts.length !== 3 || parts[1] === undefined) return null;
  try {
    const claims = decodePart(parts[1]);
    if (typeof claims !== 'object' || claims === null || !('sub' in claims)) return null;
    if (typeof claims.sub !== 'string' || claims.sub === '') return null;
    const seconds = 'exp' in claims && typeof claims.exp === 'number' ? claims.exp : null;
    return { userId: claims.sub, expiresAt: seconds === null ? null : seconds * 1000 };
  } catch {
    // Invalid base64, UTF-8 or JSON.
    return null;
  }
}
