/** Which users have read up to which message. */
import type { ChatEntry } from '@roomcast/react';
import { createContext } from 'react';

/** With more readers than this, a message shows their number only. */
export const MAX_FACES = 3;

export interface Receipts {
  /** By the key of a message: the users whose last read message it is. */
  readonly at: ReadonlyMap<string, readonly string[]>;
  /** The users that have read a message, as in `at` in the order of their names. */
  readonly readersOf: (message: ChatEntry) => readonly string[];
}

export const ReceiptsContext = createContext<Receipts>({ at: new Map(), readersOf: () => [] });

/**
 * @param messages - Ascending by place.
 * @param reads - The seq of the last event that each user has seen. A message has been seen if its place has.
 * @param me - This user has no receipt.
 */
export function receiptsOf(messages: readonly ChatEntry[], reads: ReadonlyMap<string, number>, me: string): Receipts {
  const stored = messages.filter((message) => message.place !== null);
  const at = new Map<string, string[]>();
  const others = [...reads].filter(([userId]) => userId !== me).sort(([a], [b]) => a.localeCompare(b));
  for (const [userId, seq] of others) {
    // The author of the last message has read it, too, but a receipt says what others have read.
    const last = stored.findLast((message) => (message.place ?? 0) <= seq && message.userId !== userId);
    if (last !== undefined) at.set(last.key, [...(at.get(last.key) ?? []), userId]);
  }
  return {
    at,
    readersOf: (message) =>
      others
        .filter(([userId, seq]) => seq >= (message.place ?? Infinity) && userId !== message.userId)
        .map(([userId]) => userId),
  };
}
