/** The states of turns in words. */
import type { contract } from '@roomcast/react';

import type { Dictionary } from '../i18n/en.ts';

/** True if the turn has no answer, so that its state is shown at the question. */
export function isUnanswered({ status, reason, generation }: contract.Turn): boolean {
  if (status === 'queued') return true;
  return status !== 'streaming' && (generation === 0 || reason === 'replaced');
}

/** Why a turn ended early; an empty string if it is complete or has not ended. */
export function describeTurn({ status, reason }: contract.Turn, words: Dictionary['answer']): string {
  const because = reason === null ? '' : words.reasons[reason];
  if (status === 'stopped') return because;
  if (status === 'incomplete') return `${words.incomplete} ${because}`.trim();
  return status === 'failed' ? `${words.failed} ${because}`.trim() : '';
}
