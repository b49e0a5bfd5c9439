/** Keeps unsent text in the browser's storage, so that it survives a reload. One key a message: tabs never overwrite. */
import type { Outgoing } from './outbox.ts';

/** What is needed of `localStorage`. */
export type KeyValueStorage = Pick<Storage, 'getItem' | 'setItem' | 'removeItem' | 'key' | 'length'>;

const PREFIX = 'roomcast:unsent:';

/** One more than this in one chat is kept in memory only: storage is small and shared with the page. */
const MAX_KEPT = 100;

export class UnsentStore {
  readonly #storage: KeyValueStorage;

  constructor(storage: KeyValueStorage) {
    this.#storage = storage;
  }

  put(outgoing: Outgoing): void {
    if (outgoing.userId == null || this.list(outgoing.chatId, outgoing.userId).length >= MAX_KEPT) return;
    try {
      this.#storage.setItem(keyOf(outgoing), JSON.stringify({ outgoing, at: Date.now() }));
    } catch {
      // Full, or forbidden in a private window. The message is sent all the same; it would only not survive a reload.
    }
  }

  remove(outgoing: Outgoing): void {
    this.#storage.removeItem(keyOf(outgoing));
  }

  /** What a user left unsent in a chat, the oldest first. */
  list(chatId: string, userId: string): Outgoing[] {
    const prefix = prefixOf(chatId, userId);
    const found: { outgoing: Outgoing; at: number }[] = [];
    for (let index = 0; index < this.#storage.length; index += 1) {
      const key = this.#storage.key(index);
      const kept = key?.startsWith(prefix) ? parse(this.#storage.getItem(key)) : null;
      if (kept) found.push(kept);
    }
    return found.sort((a, b) => a.at - b.at).map(({ outgoing }) => outgoing);
  }
}

function prefixOf(chatId: string, userId: string): string {
  return `${PREFIX}${encodeURIComponent(chatId)}:${encodeURIComponent(userId)}:`;
}

function keyOf({ chatId, userId, clientMsgId }: Outgoing): string {
  return prefixOf(chatId, userId ?? '') + clientMsgId;
}

/** Storage is open to every script of the page: what does not look like ours is passed over. */
function parse(text: string | null): { outgoing: Outgoing; at: number } | null {
  try {
    const kept = JSON.parse(text ?? 'null') as { outgoing?: Partial<Outgoing>; at?: unknown } | null;
    const { chatId, content, clientMsgId, role, userId } = kept?.outgoing ?? {};
    if (typeof chatId !== 'string' || typeof content !== 'string' || typeof clientMsgId !== 'string') return null;
    if (role !== 'USER' || typeof userId !== 'string' || typeof kept?.at !== 'number') return null;
    return { outgoing: { chatId, content, clientMsgId, role, userId }, at: kept.at };
  } catch {
    return null;
  }
}
