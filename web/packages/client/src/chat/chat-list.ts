/** The chat list, newest activity first: loaded page by page, and polled while it has subscribers. */
import type { RoomcastApi } from '../api.ts';
import { backoffMs } from '../connection/backoff.ts';
import { type RoomcastError, toRoomcastError } from '../errors.ts';
import type { Chat, ChatRead } from '../generated/contract.ts';
import { Observable, patch } from '../platform/observable.ts';
import type { Runtime } from '../platform/runtime.ts';
import { Timer } from '../platform/timer.ts';
import { type ChatSummary, type LastMessage, type LoadStatus, reviveLastMessage } from '../types.ts';

const PAGE_SIZE = 50;
/** As in the server's previews. */
const PREVIEW_CHARS = 120;
/** Maximum delay until the list contains a chat that another user created. */
const REFRESH_INTERVAL_MS = 15_000;
/** Delay until the numbers of unread messages are read after an announcement; random, since many users receive it. */
const RECOUNT_MIN_MS = 500;
const RECOUNT_SPREAD_MS = 1_500;

type ListApi = Pick<
  RoomcastApi,
  | 'listChats'
  | 'getChat'
  | 'createChat'
  | 'markRead'
  | 'openDirectChat'
  | 'renameChat'
  | 'archiveChat'
  | 'deleteChat'
  | 'removeMember'
>;

/** A new event of a chat. */
interface Activity {
  readonly chatId: string;
  readonly seq: number;
  readonly time: Date;
  /** Null if the event is no message. */
  readonly lastMessage: LastMessage | null;
  /** Its text, if known. */
  readonly content?: string;
  /** The name of its first file, if known. */
  readonly file?: string | null;
}

/** Immutable state of the chat list. */
export interface ChatListSnapshot {
  /** Newest activity first. */
  readonly chats: readonly ChatSummary[];
  readonly status: LoadStatus;
  /** The last failure, kept while the request is retried; null after a success. */
  readonly error: RoomcastError | null;
  /** True if `loadMore` can load another page. */
  readonly hasMore: boolean;
}

/** The snapshot before the first request. */
export const INITIAL_CHAT_LIST: ChatListSnapshot = { chats: [], status: 'idle', error: null, hasMore: false };

/**
 * The chat list of a client. While it has subscribers, it is refreshed every 15 s, after a reconnect and when the page
 * becomes visible; live activity moves a chat up at once.
 */
export class ChatList {
  readonly #api: ListApi;
  readonly #userId: () => string | null;
  readonly #runtime: Pick<Runtime, 'clock' | 'random'>;
  readonly #snapshot = new Observable(INITIAL_CHAT_LIST);
  readonly #refreshTimer: Timer;
  /** Chats of `include`. */
  readonly #included = new Set<{ readonly chatId: string }>();
  /** Up to which seq the user has read a chat, as far as this device knows. */
  readonly #read = new Map<string, number>();
  /** The epochs of these events, if known. */
  readonly #readEpochs = new Map<string, string>();
  /** The chats whose seq in `#read` is to be sent, with the epoch of that event, if known. */
  readonly #toSend = new Map<string, string | undefined>();
  #sending = false;
  /** Whether a refresh for `recountSoon` is scheduled. */
  #recounting = false;
  #nextCursor: string | null = null;
  #refreshing: Promise<void> | null = null;
  #failures = 0;
  /** Incremented by `clear`, so that responses to earlier requests are ignored. */
  #generation = 0;

  constructor(
    api: ListApi,
    runtime: Pick<Runtime, 'clock' | 'random'>,
    /** The current user, whose unread messages are counted; null: they are not. */
    userId: () => string | null,
  ) {
    this.#api = api;
    this.#userId = userId;
    this.#runtime = runtime;
    this.#refreshTimer = new Timer(runtime.clock);
  }

  /** Calls the listener after each change of `getSnapshot()`; the first subscriber starts loading. */
  readonly subscribe = (listener: () => void): (() => void) => {
    const isFirst = !this.#snapshot.hasListeners;
    const unsubscribe = this.#snapshot.subscribe(listener);
    if (isFirst) void this.refresh();
    return () => {
      unsubscribe();
      if (!this.#snapshot.hasListeners) this.#refreshTimer.cancel();
    };
  };

  /** The current state; the same object until it changes. */
  readonly getSnapshot = (): ChatListSnapshot => this.#snapshot.value;

  /** Reads the first page again. Never rejects: `error` holds a failure; a temporary failure is retried. */
  readonly refresh = (): Promise<void> => {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  };

  /** Reads the next page. Never rejects: `error` holds a failure. */
  readonly loadMore = async (): Promise<void> => {
    const cursor = this.#nextCursor;
    const generation = this.#generation;
    if (cursor === null) return;
    try {
      const page = await this.#api.listChats({ limit: PAGE_SIZE, cursor, userId: this.#userId() });
      // If requests for the same page run concurrently, only the first response is used.
      if (generation !== this.#generation || cursor !== this.#nextCursor) return;
      this.#nextCursor = page.nextCursor;
      this.#add(page.chats.map(this.#toSummary), { hasMore: page.nextCursor !== null });
    } catch (error) {
      if (generation === this.#generation) patch(this.#snapshot, { error: toRoomcastError(error) });
    }
  };

  /**
   * Adds a chat to the list if the loaded pages do not contain it, such as a chat that was opened by its address. A chat
   * that the user may not read is not added.
   *
   * @returns A function that ends the attempts to read the chat.
   */
  readonly include = (chatId: string): (() => void) => {
    const entry = { chatId };
    this.#included.add(entry);
    if (this.#snapshot.value.status === 'ready') void this.#readIncluded();
    return () => void this.#included.delete(entry);
  };

  /**
   * Creates a chat and adds it to the list.
   *
   * @param chat - With an `id` only while authentication is off: otherwise the server chooses it.
   * @returns The new chat. Rejects with a ProblemError (for example with code `chat-exists`) or a NetworkError.
   */
  readonly createChat = async (chat: { id?: string; title?: string } = {}): Promise<ChatSummary> => {
    const generation = this.#generation;
    try {
      const created = this.#toSummary(await this.#api.createChat(chat));
      if (generation === this.#generation) this.#add([created]);
      return created;
    } catch (error) {
      throw toRoomcastError(error);
    }
  };

  /** Opens the direct chat of `me` and another user, and returns it. Rejects with a RoomcastError. */
  readonly openDirectChat = async (userId: string, me: string): Promise<ChatSummary> => {
    const chat = this.#toSummary(await this.#api.openDirectChat(userId, me));
    this.#add([chat]);
    return chat;
  };

  /** Renames a chat; null removes its title. Rejects with a RoomcastError, like the next three. */
  readonly renameChat = async (chatId: string, title: string | null): Promise<void> => {
    await this.#api.renameChat(chatId, title);
    this.change(chatId, { title });
  };

  /** Archives a chat for all members, which makes it read-only, or takes it back. */
  readonly archiveChat = async (chatId: string, archived: boolean): Promise<void> => {
    await this.#api.archiveChat(chatId, archived);
    this.change(chatId, { archived });
    if (!archived) await this.refresh();
  };

  /** Deletes a chat with all its messages. */
  readonly deleteChat = async (chatId: string): Promise<void> => {
    await this.#api.deleteChat(chatId);
    this.drop(chatId);
  };

  /** Ends a membership, such as the user's own. */
  readonly leaveChat = async (chatId: string, userId: string): Promise<void> => {
    await this.#api.removeMember(chatId, userId);
    this.drop(chatId);
  };

  /** The most recently active archived chats. */
  readonly listArchived = async (): Promise<readonly ChatSummary[]> => {
    const { chats } = await this.#api.listChats({ archived: true, limit: PAGE_SIZE });
    return chats.map(this.#toSummary);
  };

  /**
   * Applies a change of a chat.
   *
   * @internal
   */
  change(chatId: string, changed: Partial<Pick<ChatSummary, 'title' | 'archived' | 'notify'>>): void {
    const known = this.#snapshot.value.chats.find((chat) => chat.id === chatId);
    if (known) this.#add([{ ...known, ...changed }]);
  }

  /**
   * Takes a chat out of the list.
   *
   * @internal
   */
  drop(chatId: string): void {
    for (const entry of this.#included) if (entry.chatId === chatId) this.#included.delete(entry);
    patch(this.#snapshot, { chats: this.#snapshot.value.chats.filter(({ id }) => id !== chatId) });
  }

  /**
   * Moves a chat up after new activity; an unknown chat triggers a refresh.
   *
   * @internal
   */
  touch({ chatId, seq, time, lastMessage, content, file = null }: Activity): void {
    if (!this.#snapshot.hasListeners) return;
    const known = this.#snapshot.value.chats.find((chat) => chat.id === chatId);
    if (!known) {
      void this.refresh();
      return;
    }
    // A message can arrive after the announcement of a later event.
    const touched = {
      ...known,
      ...(seq > known.lastSeq && { lastSeq: seq, lastActivityAt: time }),
      ...(isNewer(lastMessage, known.lastMessage) && {
        lastMessage,
        ...(content !== undefined && {
          preview: content.slice(0, PREVIEW_CHARS),
          previewFile: content === '' ? file : null,
        }),
        // An estimate until the list is read again: an announcement may stand for several messages.
        ...(this.#isUnread(chatId, lastMessage) && { unread: known.unread + 1 }),
      }),
    };
    if (touched.lastMessage !== known.lastMessage && (content === undefined || touched.unread > known.unread)) {
      this.recountSoon();
    }
    this.#add([touched]);
  }

  /**
   * Records that the user has read a chat up to an event. Never rejects: a request that fails is repeated with the next
   * refresh.
   */
  readonly markRead = (chatId: string, seq: number, epoch?: string): void => {
    if (this.#userId() === null || !this.#setRead(chatId, seq, epoch)) return;
    this.#toSend.set(chatId, epoch);
    void this.#sendReads();
  };

  /**
   * Applies `chat-read`.
   *
   * @internal
   */
  applyRead({ chatId, userId, seq }: ChatRead): void {
    if (userId !== this.#userId() || !this.#setRead(chatId, seq)) return;
    const known = this.#snapshot.value.chats.find((chat) => chat.id === chatId);
    if (known !== undefined && known.unread > 0) this.recountSoon();
  }

  /**
   * Refreshes after a reconnect, or when the page becomes visible.
   *
   * @internal
   */
  wake(): void {
    if (this.#snapshot.hasListeners) void this.refresh();
  }

  /**
   * Empties the list, because the user changed; `wake` loads it again.
   *
   * @internal
   */
  clear(): void {
    this.#refreshTimer.cancel();
    this.#recounting = false;
    this.#generation += 1;
    this.#nextCursor = null;
    this.#refreshing = null;
    this.#read.clear();
    this.#readEpochs.clear();
    this.#toSend.clear();
    this.#snapshot.set(INITIAL_CHAT_LIST);
  }

  async #refresh(): Promise<void> {
    this.#refreshTimer.cancel();
    this.#recounting = false;
    const generation = this.#generation;
    if (this.#snapshot.value.status !== 'ready') patch(this.#snapshot, { status: 'loading' });
    let delayMs: number | null = REFRESH_INTERVAL_MS;
    const asked = new Set(this.#snapshot.value.chats);
    try {
      const page = await this.#api.listChats({ limit: PAGE_SIZE, userId: this.#userId() });
      if (generation !== this.#generation) return;
      this.#failures = 0;
      // Kept are chats of later pages, unless the first page is now the only page, changes since the request, and
      // archived chats, such as an open one, which are on no page. Others that the page does not have were deleted or
      // archived, or the user is no member any more.
      const { status, chats } = this.#snapshot.value;
      const last = page.nextCursor === null || status !== 'ready' ? undefined : page.chats.at(-1);
      const included = new Set([...this.#included].map(({ chatId }) => chatId));
      const isLater = (chat: ChatSummary) => last !== undefined && isBelow(chat, this.#toSummary(last));
      const later = chats.filter((chat) => !chat.archived && isLater(chat));
      const changed = (chat: ChatSummary) => last !== undefined && (!asked.has(chat) || included.has(chat.id));
      const rest = chats.filter((chat) => chat.archived || isLater(chat) || changed(chat));
      if (later.length === 0) this.#nextCursor = page.nextCursor;
      this.#add(
        page.chats.map(this.#toSummary),
        { status: 'ready', error: null, hasMore: this.#nextCursor !== null },
        rest,
      );
      await this.#readIncluded();
      void this.#sendReads();
    } catch (caught) {
      if (generation !== this.#generation) return;
      const error = toRoomcastError(caught);
      this.#failures += 1;
      delayMs = error.retryable ? backoffMs(this.#failures, this.#runtime.random()) : null;
      patch(this.#snapshot, error.retryable ? { error } : { error, status: 'error' });
    }
    // An announcement that arrived meanwhile may be newer than the response.
    if (this.#failures === 0) delayMs = this.#recountDelayMs() ?? delayMs;
    if (delayMs !== null && this.#snapshot.hasListeners) {
      this.#refreshTimer.start(() => void this.refresh(), delayMs);
    }
  }

  async #readIncluded(): Promise<void> {
    const generation = this.#generation;
    if (this.#snapshot.value.status !== 'ready') return;
    for (const entry of this.#included) {
      if (this.#snapshot.value.chats.some((chat) => chat.id === entry.chatId)) continue;
      try {
        // Without a next page, the list has all chats that are not archived. Others need not exist.
        const chat =
          this.#nextCursor === null
            ? (await this.listArchived()).find(({ id }) => id === entry.chatId)
            : this.#toSummary(await this.#api.getChat(entry.chatId, this.#userId()));
        if (generation !== this.#generation) return;
        if (chat) this.#add([chat]);
        else this.#included.delete(entry);
      } catch (caught) {
        if (generation !== this.#generation) return;
        const error = toRoomcastError(caught);
        // The next refresh tries again after a temporary failure.
        if (error.retryable) patch(this.#snapshot, { error });
        else this.#included.delete(entry);
      }
    }
  }

  #isUnread(chatId: string, message: LastMessage | null): boolean {
    const me = this.#userId();
    return message !== null && me !== null && message.userId !== me && message.seq > (this.#read.get(chatId) ?? 0);
  }

  /**
   * Reads the list soon: an announcement does not say how many messages are unread, and a deletion not which message is
   * the newest now.
   *
   * @internal
   */
  recountSoon(): void {
    // Later announcements do not put it off.
    if (!this.#snapshot.hasListeners || this.#recounting) return;
    this.#recounting = true;
    if (this.#refreshing === null) this.#refreshTimer.start(() => void this.refresh(), this.#recountDelayMs() ?? 0);
  }

  #recountDelayMs(): number | null {
    if (!this.#recounting) return null;
    return RECOUNT_MIN_MS + this.#runtime.random() * RECOUNT_SPREAD_MS;
  }

  /** Returns whether the seq is a later one, or one of a history that a backup has restored. */
  #setRead(chatId: string, seq: number, epoch?: string): boolean {
    const restored = epoch !== undefined && epoch !== (this.#readEpochs.get(chatId) ?? epoch);
    const before = this.#read.get(chatId) ?? 0;
    if (restored ? seq === before : seq <= before) return false;
    this.#read.set(chatId, seq);
    if (epoch !== undefined) this.#readEpochs.set(chatId, epoch);
    const known = this.#snapshot.value.chats.find((chat) => chat.id === chatId);
    if (known !== undefined && seq >= known.lastSeq) this.#add([{ ...known, unread: 0, mentions: 0 }]);
    return true;
  }

  async #sendReads(): Promise<void> {
    if (this.#sending) return;
    const generation = this.#generation;
    this.#sending = true;
    try {
      for (const [chatId, epoch] of this.#toSend) {
        this.#toSend.delete(chatId);
        try {
          await this.#api.markRead(chatId, this.#read.get(chatId) ?? 0, this.#userId(), epoch);
        } catch (error) {
          if (generation !== this.#generation || !toRoomcastError(error).retryable) continue;
          this.#toSend.set(chatId, epoch);
          return;
        }
      }
    } finally {
      this.#sending = false;
    }
  }

  readonly #toSummary = (chat: Chat): ChatSummary => {
    const { id, title, createdAt, lastActivityAt, lastSeq, lastMessage, preview, unread, mentions } = chat;
    const { archived, direct, notify, previewFile } = chat;
    // The response may be older than what this device has read.
    const isRead = lastSeq > 0 && lastSeq <= (this.#read.get(id) ?? 0);
    return {
      id,
      title,
      createdAt: new Date(createdAt),
      lastActivityAt: new Date(lastActivityAt),
      lastSeq,
      lastMessage: reviveLastMessage(lastMessage),
      // Servers of earlier versions do not count.
      preview: preview ?? null,
      previewFile: previewFile ?? null,
      unread: isRead ? 0 : (unread ?? 0),
      mentions: isRead ? 0 : (mentions ?? 0),
      archived: archived ?? false,
      direct: direct ?? null,
      notify: notify ?? 'all',
    };
  };

  #add(
    fresh: readonly ChatSummary[],
    change: Partial<ChatListSnapshot> = {},
    known = this.#snapshot.value.chats,
  ): void {
    const before = this.#snapshot.value.chats;
    const chats = merge(known, fresh);
    const same = before.length === chats.length && chats.every((chat, index) => chat === before[index]);
    patch(this.#snapshot, same ? change : { ...change, chats });
  }
}

function isNewer(message: LastMessage | null, known: LastMessage | null): boolean {
  return message !== null && (message.epoch !== known?.epoch || message.seq > known.seq);
}

/** Whether a chat comes later in the list. */
function isBelow(chat: ChatSummary, other: ChatSummary): boolean {
  const laterMs = other.lastActivityAt.getTime() - chat.lastActivityAt.getTime();
  return laterMs > 0 || (laterMs === 0 && chat.id < other.id);
}

/** Newest activity first; an unchanged chat remains the same object. */
function merge(known: readonly ChatSummary[], fresh: readonly ChatSummary[]): ChatSummary[] {
  const byId = new Map(known.map((chat) => [chat.id, chat]));
  for (const chat of fresh) {
    const old = byId.get(chat.id);
    const isChanged =
      !old ||
      old.lastSeq < chat.lastSeq ||
      old.title !== chat.title ||
      old.archived !== chat.archived ||
      (old.lastSeq === chat.lastSeq &&
        (old.unread !== chat.unread ||
          old.mentions !== chat.mentions ||
          old.preview !== chat.preview ||
          old.previewFile !== chat.previewFile));
    if (isChanged || isNewer(chat.lastMessage, old.lastMessage)) byId.set(chat.id, chat);
  }
  return [...byId.values()].sort((a, b) => (isBelow(a, b) ? 1 : -1));
}
