/** Presence and typing of one chat: ephemeral state that the server does not store. */
import type { Presence, Typing } from '../generated/contract.ts';
import { Observable } from '../platform/observable.ts';
import type { Clock } from '../platform/runtime.ts';
import { Timer } from '../platform/timer.ts';

/** Typing expires after this time without a notification. Source: contract, `typing`. */
const TYPING_TTL_MS = 6_000;
/** Minimum interval between repeated notifications of the own typing; shorter than the TTL. */
const TYPING_REPEAT_MS = 3_000;
/** The own typing ends after this time without a keystroke. */
const TYPING_IDLE_MS = 4_000;
/** Maximum number of typing users: limits memory if a gateway misbehaves. */
const MAX_TYPING = 50;
/** Maximum number of online users: limits memory if a gateway misbehaves. One event names up to 1,000 users. */
const MAX_ONLINE = 5_000;

/** Immutable presence state of a chat. */
export interface PresenceSnapshot {
  /** Sorted ids of the users with at least one connection that follows the chat; includes the own user. */
  readonly online: readonly string[];
  /** True until the first full list, and after the connection closed: `online` may be outdated. */
  readonly stale: boolean;
}

/** The snapshot before the first presence event. */
export const INITIAL_PRESENCE: PresenceSnapshot = { online: [], stale: true };
/** The empty list of typing users; always the same object. */
const NO_USERS: readonly string[] = [];

export class Participants {
  readonly presence = new Observable(INITIAL_PRESENCE);
  /** Ids of other users who are typing, in the order in which they started. */
  readonly typing = new Observable(NO_USERS);
  readonly #clock: Clock;
  readonly #sendTyping: (typing: boolean) => boolean;
  /** Expiry timer of each typing user. */
  readonly #typingTimers = new Map<string, Timer>();
  /** Time of the last `typing: true` that was sent; null if the other users do not see the own user typing. */
  #typingSentAt: number | null = null;
  readonly #idleTimer: Timer;

  /** @param sendTyping - Sends a typing notification; returns false if the chat is not joined. */
  constructor(clock: Clock, sendTyping: (typing: boolean) => boolean) {
    this.#clock = clock;
    this.#sendTyping = sendTyping;
    this.#idleTimer = new Timer(clock);
  }

  applyPresence({ online, offline, reset }: Presence): void {
    const { presence } = this;
    const next = new Set(reset ? [] : presence.value.online);
    for (const userId of online) if (next.size < MAX_ONLINE) next.add(userId);
    for (const userId of offline) next.delete(userId);
    for (const userId of this.#typingTimers.keys())
      if (reset ? !next.has(userId) : offline.includes(userId)) this.endTyping(userId);
    const sorted = [...next].sort();
    const { online: before, stale } = presence.value;
    const same = sorted.length === before.length && sorted.every((userId, index) => userId === before[index]);
    if (!same || (stale && reset)) presence.set({ online: sorted, stale: stale && !reset });
  }

  applyTyping({ userId, typing }: Typing): void {
    if (!typing) {
      this.endTyping(userId);
      return;
    }
    const known = this.#typingTimers.get(userId);
    if (known === undefined && this.#typingTimers.size >= MAX_TYPING) return;
    const timer = known ?? new Timer(this.#clock);
    timer.start(() => this.endTyping(userId), TYPING_TTL_MS);
    if (known !== undefined) return;
    this.#typingTimers.set(userId, timer);
    this.#publishTyping();
  }

  /** Another user stopped typing, or sent the message. */
  endTyping(userId: string): void {
    const timer = this.#typingTimers.get(userId);
    if (timer === undefined) return;
    timer.cancel();
    this.#typingTimers.delete(userId);
    this.#publishTyping();
  }

  /** Reports the own user's typing: true for each keystroke, false when the field is empty. */
  setTyping(typing: boolean): void {
    this.#idleTimer.cancel();
    if (typing) {
      this.#idleTimer.start(() => this.setTyping(false), TYPING_IDLE_MS);
      const now = this.#clock.now();
      const isDue = this.#typingSentAt === null || now - this.#typingSentAt >= TYPING_REPEAT_MS;
      if (isDue && this.#sendTyping(true)) this.#typingSentAt = now;
    } else if (this.#typingSentAt !== null) {
      this.#typingSentAt = null;
      this.#sendTyping(false);
    }
  }

  /** The connection closed, or the chat was left: clears typing and marks presence as stale. */
  markStale(): void {
    this.#idleTimer.cancel();
    this.#typingSentAt = null;
    for (const timer of this.#typingTimers.values()) timer.cancel();
    this.#typingTimers.clear();
    this.#publishTyping();
    const { online, stale } = this.presence.value;
    if (!stale) this.presence.set({ online, stale: true });
  }

  /** Returns to the initial state, for another user. */
  reset(): void {
    this.markStale();
    this.presence.set(INITIAL_PRESENCE);
  }

  #publishTyping(): void {
    this.typing.set(this.#typingTimers.size === 0 ? NO_USERS : [...this.#typingTimers.keys()]);
  }
}
