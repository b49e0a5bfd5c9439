/** Error messages for users: translated sentences, never texts from the server. */
import { NetworkError, ProblemError, RefusedError } from '@roomcast/react';

import type { Dictionary } from './i18n/en.ts';

const keysByCode: ReadonlyMap<string, keyof Dictionary['errors']> = new Map([
  ['unauthorized', 'unauthorized'],
  ['forbidden', 'forbidden'],
  ['chat-not-found', 'forbidden'],
  ['too-large', 'tooLarge'],
  ['limit-reached', 'rateLimited'],
  ['addition-limit', 'additionLimit'],
  ['unavailable', 'network'],
  ['answer-active', 'answerActive'],
]);

export function describeError(error: unknown, words: Dictionary['errors']): string {
  if (error instanceof NetworkError) return words.network;
  const code = error instanceof ProblemError || error instanceof RefusedError ? error.code : null;
  return words[keysByCode.get(code ?? '') ?? 'unknown'];
}

/** True if the server rejected the access token, or requires one. */
export function requiresSignIn(error: unknown): boolean {
  return (error instanceof ProblemError || error instanceof RefusedError) && error.code === 'unauthorized';
}
