/**
 * Keeps unsent messages in Web Storage across a reload. Each message has a key, because tabs share the storage.
 *
 * Any access may throw: the storage is blocked or full, or the browser profile is damaged. Messages are sent all the same.
 */
import type { Attachment } from '../generated/contract.ts';
import type { Outgoing } from './outbox.ts';

/** The part of Web Storage (`localStorage`) that the client uses. */
export type KeyValueStorage = Pick<Storage, 'getItem' | 'setItem' | 'removeItem' | 'key' | 'length'>;

const PREFIX = 'roomcast:unsent:';

/** Maximum per chat and user; further messages are kept in memory only, because the storage is small and shared. */
const MAX_STORED = 100;

interface Stored {
  readonly outgoing: Outgoing;
  /** Orders the messages: the time in milliseconds, or one more than the previous message's. */
  readonly at: number;
}

export class UnsentStore {
  readonly #storage: KeyValueStorage;

  constructor(storage: KeyValueStorage) {
    this.#storage = storage;
  }

  /** Returns false if the message could not be stored: it would not survive a reload. */
  put(outgoing: Outgoing): boolean {
    const { chatId, userId } = outgoing;
    if (userId == null) return false;
    return attempt(() => {
      const stored = this.#entries(chatId, userId);
      if (stored.length >= MAX_STORED) return false;
      // Ascending, also after the clock was set back, and within a millisecond.
      const at = Math.max(Date.now(), 1 + (stored.at(-1)?.at ?? 0));
      this.#storage.setItem(storageKey(outgoing), JSON.stringify({ outgoing, at }));
      return true;
    }, false);
  }

  /** If it fails, a reload sends the message again; its `clientMsgId` lets the server store it once. */
  remove(outgoing: Outgoing): void {
    attempt(() => this.#storage.removeItem(storageKey(outgoing)), undefined);
  }

  /** Unsent messages of a user in a chat, oldest first; empty if the storage cannot be read. */
  list(chatId: string, userId: string): Outgoing[] {
    return attempt(() => this.#entries(chatId, userId), []).map(({ outgoing }) => outgoing);
  }

  /** Ids of the unsent messages of a user, in all chats; empty if the storage cannot be read. */
  idsOf(userId: string): string[] {
    return attempt(() => this.#keysOf(userId), []).map((key) => key.split(':').slice(4).join(':'));
  }

  /** Removes the unsent messages of a user, in all chats. A damaged storage keeps what it holds. */
  removeAll(userId: string): void {
    attempt(() => this.#keysOf(userId).forEach((key) => this.#storage.removeItem(key)), undefined);
  }

  #entries(chatId: string, userId: string): Stored[] {
    const prefix = prefixOf(chatId, userId);
    return this.#keysOf(userId)
      .filter((key) => key.startsWith(prefix))
      .map((key) => parse(this.#storage.getItem(key)))
      .filter((stored) => stored !== null)
      .sort((a, b) => a.at - b.at);
  }

  #keysOf(userId: string): string[] {
    const keys = Array.from({ length: this.#storage.length }, (_, index) => this.#storage.key(index) ?? '');
    // The ids in a key are encoded, so that they contain no colon.
    const owner = encodeURIComponent(userId);
    return keys.filter((key) => key.startsWith(PREFIX) && key.split(':')[3] === owner);
  }
}

function attempt<T>(action: () => T, otherwise: T): T {
  try {
    return action();
  } catch {
    return otherwise;
  }
}

function prefixOf(chatId: string, userId: string): string {
  return `${PREFIX}${encodeURIComponent(chatId)}:${encodeURIComponent(userId)}:`;
}

function storageKey({ chatId, userId, clientMsgId }: Outgoing): string {
  return prefixOf(chatId, userId ?? '') + clientMsgId;
}

/** Returns null for an invalid value, because any script of the page can write to the storage. */
function parse(text: string | null): Stored | null {
  const read = (): { outgoing?: Partial<Outgoing>; at?: unknown } | null => JSON.parse(text ?? 'null') as never;
  const stored = attempt(read, null);
  const { chatId, content, clientMsgId, role, userId, attachments } = stored?.outgoing ?? {};
  if (typeof chatId !== 'string' || typeof content !== 'string' || typeof clientMsgId !== 'string') return null;
  if (role !== 'USER' || typeof userId !== 'string' || typeof stored?.at !== 'number') return null;
  const files = isAttachments(attachments) && { attachments };
  return { outgoing: { chatId, content, clientMsgId, role, userId, ...files }, at: stored.at };
}

function isAttachments(value: unknown): value is readonly Attachment[] {
  const isOne = (one: unknown): boolean => typeof (one as Partial<Attachment> | null)?.id === 'string';
  return Array.isArray(value) && value.length > 0 && value.every(isOne);
}
