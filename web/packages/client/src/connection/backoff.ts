/** Exponential backoff. The jitter also applies at the maximum, so that clients do not retry in lockstep. */

const FIRST_DELAY_MS = 500;
export const MAX_DELAY_MS = 5_000;

/**
 * Delay before the next attempt.
 *
 * @param failures - Consecutive failures so far, from 1.
 * @param random - In [0, 1).
 * @returns Milliseconds, between 50 % and 100 % of the step; at most 5,000.
 */
export function backoffMs(failures: number, random: number): number {
  const step = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(failures - 1, 10));
  return Math.round(step * (0.5 + random / 2));
}
