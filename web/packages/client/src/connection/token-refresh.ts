/**
 * Replaces the access token of an open connection before it expires.
 *
 * The server says how long the token is valid, so that the clock of the device does not matter.
 */
import { messageOf } from '../errors.ts';
import type { Clock } from '../platform/runtime.ts';
import { Timer } from '../platform/timer.ts';

/** The part of the remaining lifetime after which the token is replaced. */
const REFRESH_AFTER = 0.75;
/** Shortest time between two attempts: `getToken` may return the same token for a while, or fail. */
const MIN_PAUSE_MS = 5_000;
/** Timers of browsers overflow after 24 days. */
const MAX_PAUSE_MS = 86_400_000;

export interface TokenRefreshDependencies {
  clock: Clock;
  /** Returns the current token; null: none is required. */
  token: () => Promise<string | null>;
  /** Sends a token to the gateway. Resolves to the seconds until it expires; null: it does not. */
  send: (token: string) => Promise<number | null>;
  /** Called for each failed attempt, which is repeated. */
  report: (message: string) => void;
}

export class TokenRefresh {
  readonly #dependencies: TokenRefreshDependencies;
  readonly #timer: Timer;
  /** Changes with each connection, so that an attempt of an earlier one has no effect. */
  #connection = {};

  constructor(dependencies: TokenRefreshDependencies) {
    this.#dependencies = dependencies;
    this.#timer = new Timer(dependencies.clock);
  }

  /** A connection is open whose token expires in `expiresInS` seconds. */
  start(expiresInS: number | null | undefined): void {
    this.stop();
    this.#schedule(expiresInS);
  }

  /** The connection has closed. */
  stop(): void {
    this.#connection = {};
    this.#timer.cancel();
  }

  #schedule(expiresInS: number | null | undefined): void {
    // The guide's server does not say it.
    if (typeof expiresInS !== 'number' || !(expiresInS >= 0)) return;
    const pauseMs = Math.min(Math.max(expiresInS * 1_000 * REFRESH_AFTER, MIN_PAUSE_MS), MAX_PAUSE_MS);
    const expiresAt = this.#dependencies.clock.now() + expiresInS * 1_000;
    this.#timer.start(() => void this.#refresh(expiresAt), pauseMs);
  }

  async #refresh(expiresAt: number): Promise<void> {
    const { clock, token: getToken, send, report } = this.#dependencies;
    const connection = this.#connection;
    let expiresInS: number | null;
    try {
      const token = await getToken();
      if (connection !== this.#connection || token === null) return;
      expiresInS = await send(token);
    } catch (error) {
      if (connection === this.#connection) report(`the access token cannot be renewed: ${messageOf(error)}`);
      // The gateway closes the connection at the expiry, which begins a new one.
      expiresInS = Math.max(expiresAt - clock.now(), 0) / 1_000;
    }
    if (connection === this.#connection) this.#schedule(expiresInS);
  }
}
