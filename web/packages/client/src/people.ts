/** Who of a chat is there, and who writes just now: of the moment, told at most once, and forgotten again. */
import type { Presence, Typing } from './generated/contract.ts';
import { Observable } from './observable.ts';
import type { Clock, TimerHandle } from './runtime.ts';

/** Source: contract, `typing`. */
const TYPING_LASTS_MS = 6_000;
/** Told again in time, so that the others do not forget; and no more often, however fast somebody types. */
const TELL_AGAIN_MS = 3_000;
/** Who types nothing for so long has stopped. */
const IDLE_AFTER_MS = 4_000;
/** More than anybody reads; the gateway is not trusted to keep it small. */
const MAX_TYPING = 50;
/** Likewise; the gateway names up to 1,000. */
const MAX_ONLINE = 5_000;

export interface PresenceSnapshot {
  /** Users with a device that follows the chat, oneself included, by id. */
  readonly online: readonly string[];
  /** As last known, since the connection was lost; or never told. */
  readonly stale: boolean;
}

const UNKNOWN: PresenceSnapshot = { online: [], stale: true };
const NOBODY: readonly string[] = [];

export class People {
  readonly presence = new Observable(UNKNOWN);
  /** Others who write, the longest first. */
  readonly typing = new Observable(NOBODY);
  readonly #clock: Clock;
  readonly #tell: (typing: boolean) => boolean;
  /** When each who writes is forgotten. */
  readonly #writers = new Map<string, TimerHandle>();
  /** When the others were last told that one writes oneself; null: they were not, or that it ended. */
  #toldAt: number | null = null;
  #idle: TimerHandle | null = null;

  /** @param tell tells the chat that one writes, or stopped; false: it cannot be told now */
  constructor(clock: Clock, tell: (typing: boolean) => boolean) {
    this.#clock = clock;
    this.#tell = tell;
  }

  takePresence({ online, offline, reset }: Presence): void {
    const { presence } = this;
    const now = new Set(reset ? [] : presence.value.online);
    for (const userId of online) if (now.size < MAX_ONLINE) now.add(userId);
    for (const userId of offline) now.delete(userId);
    for (const userId of this.#writers.keys())
      if (reset ? !now.has(userId) : offline.includes(userId)) this.quiet(userId);
    const sorted = [...now].sort();
    const { online: before, stale } = presence.value;
    const same = sorted.length === before.length && sorted.every((userId, index) => userId === before[index]);
    if (!same || (stale && reset)) presence.set({ online: sorted, stale: stale && !reset });
  }

  takeTyping({ userId, typing }: Typing): void {
    if (!typing) {
      this.quiet(userId);
      return;
    }
    const known = this.#writers.get(userId);
    if (known === undefined && this.#writers.size >= MAX_TYPING) return;
    if (known !== undefined) this.#clock.clearTimeout(known);
    this.#writers.set(
      userId,
      this.#clock.setTimeout(() => this.quiet(userId), TYPING_LASTS_MS),
    );
    if (known === undefined) this.#show();
  }

  /** They have stopped, or said it. */
  quiet(userId: string): void {
    const timer = this.#writers.get(userId);
    if (timer === undefined) return;
    this.#clock.clearTimeout(timer);
    this.#writers.delete(userId);
    this.#show();
  }

  /** Oneself: true with each keystroke, false when the field is empty again. */
  setTyping(typing: boolean): void {
    this.#stopIdling();
    if (typing) {
      this.#idle = this.#clock.setTimeout(() => this.setTyping(false), IDLE_AFTER_MS);
      const now = this.#clock.now();
      if ((this.#toldAt === null || now - this.#toldAt >= TELL_AGAIN_MS) && this.#tell(true)) this.#toldAt = now;
    } else if (this.#toldAt !== null) {
      this.#toldAt = null;
      this.#tell(false);
    }
  }

  /** Nothing is told from here on: nobody is known to write, and who is there may be gone. */
  lose(): void {
    this.#stopIdling();
    this.#toldAt = null;
    for (const timer of this.#writers.values()) this.#clock.clearTimeout(timer);
    this.#writers.clear();
    this.#show();
    const { online, stale } = this.presence.value;
    if (!stale) this.presence.set({ online, stale: true });
  }

  /** Another person looks. */
  forget(): void {
    this.lose();
    this.presence.set(UNKNOWN);
  }

  #show(): void {
    this.typing.set(this.#writers.size === 0 ? NOBODY : [...this.#writers.keys()]);
  }

  #stopIdling(): void {
    if (this.#idle !== null) this.#clock.clearTimeout(this.#idle);
    this.#idle = null;
  }
}
