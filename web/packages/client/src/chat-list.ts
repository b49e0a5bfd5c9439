/** The list of chats, newest activity first: loaded by page, refreshed while somebody looks at it. */
import type { RoomcastApi } from './api.ts';
import { backoffMs } from './backoff.ts';
import { type RoomcastError, toRoomcastError } from './errors.ts';
import type { Chat } from './generated/contract.ts';
import { Observable } from './observable.ts';
import type { Runtime, TimerHandle } from './runtime.ts';
import type { ChatMessage, ChatSummary, LoadStatus } from './types.ts';

const PAGE_SIZE = 50;
/** A chat that others create shows after this at the latest. */
const REFRESH_EVERY_MS = 15_000;

export interface ChatListSnapshot {
  readonly chats: readonly ChatSummary[];
  readonly status: LoadStatus;
  /** The last failure, also while it is tried again. */
  readonly error: RoomcastError | null;
  readonly hasMore: boolean;
}

export class ChatList {
  readonly #api: Pick<RoomcastApi, 'listChats' | 'createChat'>;
  readonly #runtime: Pick<Runtime, 'clock' | 'random'>;
  readonly #snapshot = new Observable<ChatListSnapshot>({ chats: [], status: 'idle', error: null, hasMore: false });
  #nextCursor: string | null = null;
  #timer: TimerHandle | null = null;
  #refreshing: Promise<void> | null = null;
  #failures = 0;
  /** Rises when the list is emptied: what was asked before is then not taken. */
  #generation = 0;

  constructor(api: Pick<RoomcastApi, 'listChats' | 'createChat'>, runtime: Pick<Runtime, 'clock' | 'random'>) {
    this.#api = api;
    this.#runtime = runtime;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    const isFirst = !this.#snapshot.observed;
    const unsubscribe = this.#snapshot.subscribe(listener);
    if (isFirst) void this.refresh();
    return () => {
      unsubscribe();
      if (!this.#snapshot.observed) this.#cancelTimer();
    };
  };

  readonly getSnapshot = (): ChatListSnapshot => this.#snapshot.value;

  /** Reads the first page again. Never rejects: a failure shows as `error` and is tried again while it can help. */
  readonly refresh = (): Promise<void> => {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  };

  /** Reads the next page. Never rejects. */
  readonly loadMore = async (): Promise<void> => {
    const cursor = this.#nextCursor;
    const generation = this.#generation;
    if (cursor === null) return;
    try {
      const page = await this.#api.listChats({ limit: PAGE_SIZE, cursor });
      // The same page asked for twice is taken once.
      if (generation !== this.#generation || cursor !== this.#nextCursor) return;
      this.#nextCursor = page.nextCursor;
      this.#put(merge(this.#snapshot.value.chats, page.chats.map(toSummary)), { hasMore: page.nextCursor !== null });
    } catch (error) {
      if (generation === this.#generation) this.#patch({ error: toRoomcastError(error) });
    }
  };

  /**
   * Creates a chat and puts it first.
   *
   * @throws ProblemError, such as `chat-exists`, or NetworkError
   */
  readonly createChat = async (chat: { id?: string; title?: string } = {}): Promise<ChatSummary> => {
    try {
      const created = toSummary(await this.#api.createChat(chat));
      this.#put(merge(this.#snapshot.value.chats, [created]), {});
      return created;
    } catch (error) {
      throw toRoomcastError(error);
    }
  };

  /** Something came: its chat moves up. One that is not listed yet is fetched. */
  touch({ chatId, seq, time }: Pick<ChatMessage, 'chatId' | 'seq' | 'time'>): void {
    if (chatId === undefined || !this.#snapshot.observed) return;
    const known = this.#snapshot.value.chats.find((chat) => chat.id === chatId);
    if (!known) {
      void this.refresh();
    } else if (seq != null && seq > known.lastSeq) {
      this.#put(merge(this.#snapshot.value.chats, [{ ...known, lastSeq: seq, lastActivityAt: time }]), {});
    }
  }

  /** The connection is back, or the page is looked at again: what is shown may be old. */
  wake(): void {
    if (this.#snapshot.observed) void this.refresh();
  }

  /** Another person sees nothing of the first one's. */
  clear(): void {
    this.#generation += 1;
    this.#nextCursor = null;
    this.#refreshing = null;
    this.#snapshot.set({ chats: [], status: 'idle', error: null, hasMore: false });
    this.wake();
  }

  async #refresh(): Promise<void> {
    this.#cancelTimer();
    const generation = this.#generation;
    if (this.#snapshot.value.status !== 'ready') this.#patch({ status: 'loading' });
    let delayMs: number | null = REFRESH_EVERY_MS;
    try {
      const page = await this.#api.listChats({ limit: PAGE_SIZE });
      if (generation !== this.#generation) return;
      this.#failures = 0;
      const first = page.chats.map(toSummary);
      // Pages after the first stay as they are, unless the first is all there is.
      const rest =
        page.nextCursor === null || this.#snapshot.value.status !== 'ready' ? [] : this.#snapshot.value.chats;
      if (rest.length <= PAGE_SIZE) this.#nextCursor = page.nextCursor;
      this.#put(merge(rest, first), { status: 'ready', error: null, hasMore: this.#nextCursor !== null });
    } catch (caught) {
      if (generation !== this.#generation) return;
      const error = toRoomcastError(caught);
      this.#failures += 1;
      delayMs = error.retryable ? backoffMs(this.#failures, this.#runtime.random()) : null;
      this.#patch(error.retryable ? { error } : { error, status: 'error' });
    }
    if (delayMs !== null && this.#snapshot.observed) {
      this.#timer = this.#runtime.clock.setTimeout(() => void this.refresh(), delayMs);
    }
  }

  #cancelTimer(): void {
    if (this.#timer !== null) this.#runtime.clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  #put(chats: readonly ChatSummary[], change: Partial<ChatListSnapshot>): void {
    const before = this.#snapshot.value.chats;
    const same = before.length === chats.length && chats.every((chat, index) => chat === before[index]);
    this.#patch(same ? change : { ...change, chats });
  }

  #patch(change: Partial<ChatListSnapshot>): void {
    const before = this.#snapshot.value;
    const next = { ...before, ...change };
    if (Object.entries(next).some(([name, value]) => before[name as keyof ChatListSnapshot] !== value))
      this.#snapshot.set(next);
  }
}

function toSummary({ id, title, createdAt, lastActivityAt, lastSeq }: Chat): ChatSummary {
  return { id, title, createdAt: new Date(createdAt), lastActivityAt: new Date(lastActivityAt), lastSeq };
}

/** Newest activity first; an unchanged chat keeps its identity. */
function merge(known: readonly ChatSummary[], fresh: readonly ChatSummary[]): ChatSummary[] {
  const byId = new Map(known.map((chat) => [chat.id, chat]));
  for (const chat of fresh) {
    const old = byId.get(chat.id);
    if (!old || old.lastSeq < chat.lastSeq || old.title !== chat.title) byId.set(chat.id, chat);
  }
  return [...byId.values()].sort(
    (a, b) => b.lastActivityAt.getTime() - a.lastActivityAt.getTime() || (a.id < b.id ? 1 : -1),
  );
}
