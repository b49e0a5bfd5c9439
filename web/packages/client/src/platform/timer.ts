/** One timeout that can be restarted and canceled. */
import type { Clock, TimerHandle } from './runtime.ts';

export class Timer {
  readonly #clock: Clock;
  #handle: TimerHandle | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isRunning(): boolean {
    return this.#handle !== null;
  }

  /** Starts the timeout and cancels the previous one. */
  start(callback: () => void, delayMs: number): void {
    this.cancel();
    this.#handle = this.#clock.setTimeout(() => {
      this.#handle = null;
      callback();
    }, delayMs);
  }

  cancel(): void {
    if (this.#handle !== null) this.#clock.clearTimeout(this.#handle);
    this.#handle = null;
  }
}
