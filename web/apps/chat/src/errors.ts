/** What to tell a reader of a failure: a sentence in their language, never a server's text. */
import { NetworkError, ProblemError, RefusedError } from '@roomcast/react';

import type { Dictionary } from './i18n/en.ts';

const sentences: ReadonlyMap<string, keyof Dictionary['errors']> = new Map([
  ['unauthorized', 'unauthorized'],
  ['forbidden', 'forbidden'],
  ['chat-not-found', 'forbidden'],
  ['too-large', 'tooLarge'],
  ['limit-reached', 'rateLimited'],
  ['unavailable', 'network'],
]);

export function describeError(error: unknown, words: Dictionary['errors']): string {
  if (error instanceof NetworkError) return words.network;
  const code = error instanceof ProblemError || error instanceof RefusedError ? error.code : null;
  return words[sentences.get(code ?? '') ?? 'unknown'];
}

/** The server asks for (another) proof of who this is. */
export function asksForSignIn(error: unknown): boolean {
  return (error instanceof ProblemError || error instanceof RefusedError) && error.code === 'unauthorized';
}
