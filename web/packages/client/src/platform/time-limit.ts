/** A time limit for functions of the application, which may never settle. */
import type { Clock } from './runtime.ts';

/**
 * Calls a function and waits for its result.
 *
 * @returns As the function returns, throws or rejects. After `limitMs` it rejects with the error of `expire`, and the
 *   function's own outcome is ignored.
 */
export function withTimeLimit<T>(
  clock: Clock,
  limitMs: number,
  run: () => T | Promise<T>,
  expire: () => Error,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimeout(() => reject(expire()), limitMs);
    const settle = (): void => clock.clearTimeout(timer);
    new Promise<T>((start) => start(run())).finally(settle).then(resolve, reject);
  });
}
