/** Error messages for users: translated sentences. Of the server's texts only the reason of a moderation is shown. */
import { NetworkError, ProblemError, RefusedError } from '@roomcast/react';

import type { Dictionary } from './i18n/en.ts';

const keysByCode: ReadonlyMap<string, Exclude<keyof Dictionary['errors'], 'refused' | 'quotaReached'>> = new Map([
  ['unauthorized', 'unauthorized'],
  ['forbidden', 'forbidden'],
  ['chat-not-found', 'forbidden'],
  ['too-large', 'tooLarge'],
  ['file-limit', 'fileLimit'],
  ['file-type', 'fileType'],
  ['file-not-found', 'fileGone'],
  ['limit-reached', 'rateLimited'],
  ['addition-limit', 'additionLimit'],
  ['unavailable', 'network'],
  ['muted', 'muted'],
  ['banned', 'banned'],
  ['last-owner', 'lastOwner'],
  ['invite-not-found', 'inviteNotFound'],
  ['answer-active', 'answerActive'],
]);

export function describeError(error: unknown, words: Dictionary['errors']): string {
  if (error instanceof NetworkError) return words.network;
  if (isRefusedText(error)) return words.refused(error.message);
  if (error instanceof ProblemError && error.code === 'quota-reached')
    return words.quotaReached(Math.ceil(error.retryAfterMs / 60_000));
  const code = error instanceof ProblemError || error instanceof RefusedError ? error.code : null;
  // A member whose role does not permit a request; a socket that may not join has no access at all.
  if (error instanceof ProblemError && code === 'forbidden') return words.notPermitted;
  return words[keysByCode.get(code ?? '') ?? 'unknown'];
}

/** True if the moderation refuses the text: the same text cannot succeed. */
export function isRefusedText(error: unknown): error is ProblemError {
  return error instanceof ProblemError && error.code === 'message-refused';
}

/** True if the server rejected the access token, or requires one. */
export function requiresSignIn(error: unknown): boolean {
  return (error instanceof ProblemError || error instanceof RefusedError) && error.code === 'unauthorized';
}
