/** Up to where the users of a chat have read it. */
import type { RoomcastError } from '@roomcast/client';
import { useEffect, useState } from 'react';
import { useRoomcastClient } from './provider.ts';

export interface UseReadsResult {
  /** The seq of the last event that each user has seen, at most of 1,000 users; empty before the first result. */
  reads: ReadonlyMap<string, number>;
  /** Why the last read failed; `reads` is the result before it then. */
  error: RoomcastError | null;
}

const NONE: UseReadsResult = { reads: new Map(), error: null };

/**
 * Reads the cursors of a chat, and follows their moves while mounted. In chats of more than 100 members moves are not
 * announced: the result is that of the mount or of the last reconnect.
 *
 * @param chatId - If null or undefined, nothing is read.
 */
export function useReads(chatId: string | null | undefined): UseReadsResult {
  const client = useRoomcastClient();
  const [read, setRead] = useState<{ chatId: string | null; result: UseReadsResult }>({ chatId: null, result: NONE });
  useEffect(() => {
    if (!chatId) return undefined;
    let current = true;
    // A move may arrive before a response that is older; cursors never move back.
    const merge = (moved: Iterable<readonly [string, number]>, error: RoomcastError | null): void => {
      if (!current) return;
      setRead((before) => {
        const reads = new Map(before.chatId === chatId ? before.result.reads : []);
        for (const [userId, seq] of moved) reads.set(userId, Math.max(seq, reads.get(userId) ?? 0));
        return { chatId, result: { reads, error } };
      });
    };
    const load = (): void => {
      client.api.listReads(chatId).then(
        ({ reads }) =>
          merge(
            reads.map(({ userId, seq }) => [userId, seq] as const),
            null,
          ),
        (error: unknown) => merge([], error as RoomcastError),
      );
    };
    load();
    const ends = [
      client.on('chat-read', (moved) => {
        if (moved.chatId === chatId) merge([[moved.userId, moved.seq]], null);
      }),
      client.on('connection-restored', load),
    ];
    return () => {
      current = false;
      for (const end of ends) end();
    };
  }, [client, chatId]);
  return read.chatId === chatId ? read.result : NONE;
}
