/** Exponential backoff whose jitter stays at the cap, so that a thousand clients never march in step. */

const FIRST_DELAY_MS = 500;
export const MAX_DELAY_MS = 5_000;

/**
 * How long to wait before the next attempt.
 *
 * @param attempt number of failures so far, from 1
 * @param random between 0 (included) and 1
 * @returns milliseconds: between half and all of the step, at most 5 s
 */
export function backoffMs(attempt: number, random: number): number {
  const step = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt - 1, 10));
  return Math.round(step * (0.5 + random / 2));
}
