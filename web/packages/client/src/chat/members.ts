/** The members of a chat: read once, then changed by the events of the chat. */
import { type RoomcastError, toRoomcastError } from '../errors.ts';
import type { SequencedEvent } from '../feed/feed-machine.ts';
import type { Member, MemberPage, StoredEvents } from '../generated/contract.ts';
import { Observable, patch } from '../platform/observable.ts';

/** Immutable list of members. */
export interface MembersSnapshot {
  /** Ascending by user id; null before the first result. At most 10,000. */
  readonly members: readonly Member[] | null;
  /** Why the last read failed; `members` is the list before it then. */
  readonly error: RoomcastError | null;
}

/** The snapshot before the first read. */
export const INITIAL_MEMBERS: MembersSnapshot = { members: null, error: null };

/** Pages of 1,000 that are read. */
const MAX_PAGES = 10;

type Change = (members: readonly Member[]) => readonly Member[];

/** Each event sets a final state, so that it may be applied to a list that is newer than it. */
const CHANGES: { readonly [Name in keyof StoredEvents]?: (data: StoredEvents[Name]) => Change } = {
  'member-added':
    ({ userId, role, time }) =>
    (members) => {
      const others = members.filter((member) => member.userId !== userId);
      const index = others.findIndex((member) => member.userId > userId);
      return others.toSpliced(index === -1 ? others.length : index, 0, {
        userId,
        role,
        addedAt: time,
        mutedUntil: null,
      });
    },
  'member-removed':
    ({ userId }) =>
    (members) =>
      members.filter((member) => member.userId !== userId),
  'member-updated':
    ({ userId, role, mutedUntil }) =>
    (members) =>
      members.map((member) => (member.userId === userId ? { ...member, role, mutedUntil } : member)),
};

export class Members {
  readonly snapshot = new Observable(INITIAL_MEMBERS);
  readonly #request: (after: string | null) => Promise<MemberPage>;
  /** Number of the last read; an earlier one has no effect. */
  #read = 0;
  /** Changes since the read in progress began; null if none is. */
  #since: Change[] | null = null;
  #current = false;

  /** @param request - Reads the page after a user id. */
  constructor(request: (after: string | null) => Promise<MemberPage>) {
    this.#request = request;
  }

  /** Reads the list, unless it is current or not in use. */
  load(): void {
    if (this.#current || !this.snapshot.hasListeners) return;
    this.#current = true;
    const read = ++this.#read;
    const since: Change[] = [];
    this.#since = since;
    this.#readAll().then(
      (members) => {
        if (read !== this.#read) return;
        this.#since = null;
        patch(this.snapshot, { members: since.reduce((list, change) => change(list), members), error: null });
      },
      (error: unknown) => {
        if (read !== this.#read) return;
        this.#since = null;
        // The next change reads it again.
        this.#current = false;
        patch(this.snapshot, { error: toRoomcastError(error) });
      },
    );
  }

  async #readAll(): Promise<readonly Member[]> {
    const members: Member[] = [];
    for (let pages = 0, more = true; more && pages < MAX_PAGES; pages += 1) {
      const page = await this.#request(members.at(-1)?.userId ?? null);
      members.push(...page.members);
      more = page.hasMore;
    }
    return members;
  }

  /** Events were missed. */
  invalidate(): void {
    this.#current = false;
    this.load();
  }

  /**
   * Applies events.
   *
   * @param me - The own user, whose addition or removal decides whether the list may be read at all.
   */
  apply(events: readonly SequencedEvent[], me: string | null): void {
    for (const { event, data } of events) {
      if (!Object.hasOwn(CHANGES, event)) continue;
      const change = CHANGES[event as 'member-added']?.(data as never);
      const { members } = this.snapshot.value;
      if (!this.#current || (event !== 'member-updated' && data['userId'] === me)) this.invalidate();
      else if (change && this.#since) this.#since.push(change);
      else if (change && members) patch(this.snapshot, { members: change(members) });
    }
  }

  /** Returns to the initial state, for another user. */
  reset(): void {
    this.#read += 1;
    this.#since = null;
    this.#current = false;
    this.snapshot.set(INITIAL_MEMBERS);
  }
}
