/**
 * The session of this browser after a sign-in at the identity provider.
 *
 * The session is a cookie that no script can read; the server gives short-lived access tokens for it.
 */
import { BASE_PATH } from '../routing/base.ts';

const URL_OF_AUTH = `${BASE_PATH}api/auth/`;
/** The part of its lifetime after which a token is replaced; before the client renews that of its connection. */
const RENEW_AFTER = 0.7;
const TIME_LIMIT_MS = 10_000;

interface Token {
  readonly text: string;
  readonly renewAt: number;
}

let current: Token | null = null;
let pending: Promise<string | null> | null = null;

async function request(): Promise<string | null> {
  const response = await fetch(`${URL_OF_AUTH}token`, { method: 'POST', signal: AbortSignal.timeout(TIME_LIMIT_MS) });
  if (response.status === 401) {
    current = null;
    return null;
  }
  if (!response.ok) throw new Error(`the server responded with status ${response.status}`);
  const { token, expiresIn } = (await response.json()) as { token: string; expiresIn: number };
  current = { text: token, renewAt: performance.now() + expiresIn * 1_000 * RENEW_AFTER };
  return token;
}

/** Returns an access token; null if this browser is not signed in. Rejects if the server does not respond. */
export async function sessionToken(): Promise<string | null> {
  if (current !== null && performance.now() < current.renewAt) return current.text;
  pending ??= request().finally(() => (pending = null));
  return pending;
}

/** Ends the session of this browser, on every tab. Rejects if the server does not confirm it. */
export async function endSession(): Promise<void> {
  current = null;
  const response = await fetch(`${URL_OF_AUTH}logout`, { method: 'POST', signal: AbortSignal.timeout(TIME_LIMIT_MS) });
  if (!response.ok) throw new Error(`the server responded with status ${response.status}`);
}

/** The URL at which a sign-in begins that returns to this page. */
export function signInUrl(path: string): string {
  return `${URL_OF_AUTH}login?return=${encodeURIComponent(`/${path.slice(BASE_PATH.length)}`)}`;
}
