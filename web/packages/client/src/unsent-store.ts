/**
 * Keeps unsent messages in Web Storage across a reload. Each message has a key, because tabs share the storage.
 *
 * Any access may throw: the storage is blocked or full, or the browser profile is damaged. Messages are sent all the same.
 */
import type { Outgoing } from './outbox.ts';

/** The part of Web Storage (`localStorage`) that the client uses. */
export type KeyValueStorage = Pick<Storage, 'getItem' | 'setItem' | 'removeItem' | 'key' | 'length'>;

const PREFIX = 'roomcast:unsent:';

/** Maximum per chat and user; further messages are kept in memory only, because the storage is small and shared. */
const MAX_STORED = 100;

export class UnsentStore {
  readonly #storage: KeyValueStorage;

  constructor(storage: KeyValueStorage) {
    this.#storage = storage;
  }

  /** Returns false if the message could not be stored: it would not survive a reload. */
  put(outgoing: Outgoing): boolean {
    if (outgoing.userId == null) return false;
    try {
      const stored = this.#entries(outgoing.chatId, outgoing.userId);
      if (stored.length >= MAX_STORED) return false;
      // Orders the messages, also after the clock was set back, and within a millisecond.
      const at = Math.max(Date.now(), 1 + (stored.at(-1)?.at ?? 0));
      this.#storage.setItem(storageKey(outgoing), JSON.stringify({ outgoing, at }));
      return true;
    } catch {
      return false;
    }
  }

  remove(outgoing: Outgoing): void {
    try {
      this.#storage.removeItem(storageKey(outgoing));
    } catch {
      // A reload sends the message again; its `clientMsgId` lets the server store it once.
    }
  }

  /** Unsent messages of a user in a chat, oldest first; empty if the storage cannot be read. */
  list(chatId: string, userId: string): Outgoing[] {
    try {
      return this.#entries(chatId, userId).map(({ outgoing }) => outgoing);
    } catch {
      return [];
    }
  }

  #entries(chatId: string, userId: string): { outgoing: Outgoing; at: number }[] {
    const prefix = prefixOf(chatId, userId);
    const found: { outgoing: Outgoing; at: number }[] = [];
    for (let index = 0; index < this.#storage.length; index += 1) {
      const key = this.#storage.key(index);
      const stored = key?.startsWith(prefix) ? parse(this.#storage.getItem(key)) : null;
      if (stored) found.push(stored);
    }
    return found.sort((a, b) => a.at - b.at);
  }

  /** Ids of the unsent messages of a user, in all chats. */
  idsOf(userId: string): string[] {
    return this.#keysOf(userId).map((key) => key.split(':').slice(4).join(':'));
  }

  /** Removes the unsent messages of a user, in all chats. */
  removeAll(userId: string): void {
    try {
      for (const key of this.#keysOf(userId)) this.#storage.removeItem(key);
    } catch {
      // A damaged storage keeps what it holds.
    }
  }

  #keysOf(userId: string): string[] {
    const keys: string[] = [];
    try {
      for (let index = 0; index < this.#storage.length; index += 1) keys.push(this.#storage.key(index) ?? '');
    } catch {
      // The storage is blocked: it holds no message.
    }
    // The ids in a key are encoded, so that they contain no colon.
    const owner = encodeURIComponent(userId);
    return keys.filter((key) => key.startsWith(PREFIX) && key.split(':')[3] === owner);
  }
}

function prefixOf(chatId: string, userId: string): string {
  return `${PREFIX}${encodeURIComponent(chatId)}:${encodeURIComponent(userId)}:`;
}

function storageKey({ chatId, userId, clientMsgId }: Outgoing): string {
  return prefixOf(chatId, userId ?? '') + clientMsgId;
}

/** Returns null for an invalid value, because any script of the page can write to the storage. */
function parse(text: string | null): { outgoing: Outgoing; at: number } | null {
  try {
    const stored = JSON.parse(text ?? 'null') as { outgoing?: Partial<Outgoing>; at?: unknown } | null;
    const { chatId, content, clientMsgId, role, userId } = stored?.outgoing ?? {};
    if (typeof chatId !== 'string' || typeof content !== 'string' || typeof clientMsgId !== 'string') return null;
    if (role !== 'USER' || typeof userId !== 'string' || typeof stored?.at !== 'number') return null;
    return { outgoing: { chatId, content, clientMsgId, role, userId }, at: stored.at };
  } catch {
    return null;
  }
}
