/** The chat list, newest activity first: loaded page by page, and polled while it has subscribers. */
import type { RoomcastApi } from './api.ts';
import { backoffMs } from './backoff.ts';
import { type RoomcastError, toRoomcastError } from './errors.ts';
import type { Chat } from './generated/contract.ts';
import { Observable, patch } from './observable.ts';
import type { Runtime } from './runtime.ts';
import { Timer } from './timer.ts';
import { type ChatSummary, type LastMessage, type LoadStatus, reviveLastMessage } from './types.ts';

const PAGE_SIZE = 50;
/** Maximum delay until the list contains a chat that another user created. */
const REFRESH_INTERVAL_MS = 15_000;

type ChatListApi = Pick<
  RoomcastApi,
  | 'listChats'
  | 'getChat'
  | 'createChat'
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
  readonly #api: ChatListApi;
  readonly #runtime: Pick<Runtime, 'clock' | 'random'>;
  readonly #snapshot = new Observable(INITIAL_CHAT_LIST);
  readonly #refreshTimer: Timer;
  /** Chats of `include`. */
  readonly #included = new Set<{ readonly chatId: string }>();
  #nextCursor: string | null = null;
  #refreshing: Promise<void> | null = null;
  #failures = 0;
  /** Incremented by `clear`, so that responses to earlier requests are ignored. */
  #generation = 0;

  constructor(api: ChatListApi, runtime: Pick<Runtime, 'clock' | 'random'>) {
    this.#api = api;
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
      const page = await this.#api.listChats({ limit: PAGE_SIZE, cursor });
      // If requests for the same page run concurrently, only the first response is used.
      if (generation !== this.#generation || cursor !== this.#nextCursor) return;
      this.#nextCursor = page.nextCursor;
      this.#add(page.chats.map(toSummary), { hasMore: page.nextCursor !== null });
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
      const created = toSummary(await this.#api.createChat(chat));
      if (generation === this.#generation) this.#add([created]);
      return created;
    } catch (error) {
      throw toRoomcastError(error);
    }
  };

  /** Opens the direct chat of `me` and another user, and returns it. Rejects with a RoomcastError. */
  readonly openDirectChat = async (userId: string, me: string): Promise<ChatSummary> => {
    const chat = toSummary(await this.#api.openDirectChat(userId, me));
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
    return chats.map(toSummary);
  };

  /**
   * Applies a change of a chat.
   *
   * @internal
   */
  change(chatId: string, changed: Partial<Pick<ChatSummary, 'title' | 'archived'>>): void {
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
  touch({ chatId, seq, time, lastMessage }: Activity): void {
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
      ...(isNewer(lastMessage, known.lastMessage) && { lastMessage }),
    };
    this.#add([touched]);
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
    this.#generation += 1;
    this.#nextCursor = null;
    this.#refreshing = null;
    this.#snapshot.set(INITIAL_CHAT_LIST);
  }

  async #refresh(): Promise<void> {
    this.#refreshTimer.cancel();
    const generation = this.#generation;
    if (this.#snapshot.value.status !== 'ready') patch(this.#snapshot, { status: 'loading' });
    let delayMs: number | null = REFRESH_INTERVAL_MS;
    try {
      const page = await this.#api.listChats({ limit: PAGE_SIZE });
      if (generation !== this.#generation) return;
      this.#failures = 0;
      // Chats of later pages are kept, unless the first page is now the only page.
      const { status, chats } = this.#snapshot.value;
      const rest = page.nextCursor === null || status !== 'ready' ? [] : chats;
      if (rest.length <= PAGE_SIZE) this.#nextCursor = page.nextCursor;
      this.#add(page.chats.map(toSummary), { status: 'ready', error: null, hasMore: this.#nextCursor !== null }, rest);
      await this.#readIncluded();
    } catch (caught) {
      if (generation !== this.#generation) return;
      const error = toRoomcastError(caught);
      this.#failures += 1;
      delayMs = error.retryable ? backoffMs(this.#failures, this.#runtime.random()) : null;
      patch(this.#snapshot, error.retryable ? { error } : { error, status: 'error' });
    }
    if (delayMs !== null && this.#snapshot.hasListeners) {
      this.#refreshTimer.start(() => void this.refresh(), delayMs);
    }
  }

  async #readIncluded(): Promise<void> {
    const generation = this.#generation;
    for (const entry of this.#included) {
      // Without a next page, the list is complete.
      if (this.#nextCursor === null) return;
      if (this.#snapshot.value.chats.some((chat) => chat.id === entry.chatId)) continue;
      try {
        const chat = toSummary(await this.#api.getChat(entry.chatId));
        if (generation !== this.#generation) return;
        this.#add([chat]);
      } catch (caught) {
        if (generation !== this.#generation) return;
        const error = toRoomcastError(caught);
        // The next refresh tries again after a temporary failure.
        if (error.retryable) patch(this.#snapshot, { error });
        else this.#included.delete(entry);
      }
    }
  }

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

function toSummary({
  id,
  title,
  createdAt,
  lastActivityAt,
  lastSeq,
  lastMessage,
  archived = false,
  direct = null,
}: Chat): ChatSummary {
  return {
    id,
    title,
    createdAt: new Date(createdAt),
    lastActivityAt: new Date(lastActivityAt),
    lastSeq,
    lastMessage: reviveLastMessage(lastMessage),
    archived,
    direct,
  };
}

function isNewer(message: LastMessage | null, known: LastMessage | null): boolean {
  return message !== null && (message.epoch !== known?.epoch || message.seq > known.seq);
}

/** Newest activity first; an unchanged chat remains the same object. */
function merge(known: readonly ChatSummary[], fresh: readonly ChatSummary[]): ChatSummary[] {
  const byId = new Map(known.map((chat) => [chat.id, chat]));
  for (const chat of fresh) {
    const old = byId.get(chat.id);
    const isChanged = !old || old.lastSeq < chat.lastSeq || old.title !== chat.title || old.archived !== chat.archived;
    if (isChanged || isNewer(chat.lastMessage, old.lastMessage)) byId.set(chat.id, chat);
  }
  return [...byId.values()].sort(
    (a, b) => b.lastActivityAt.getTime() - a.lastActivityAt.getTime() || (a.id < b.id ? 1 : -1),
  );
}
