/** Messages that match a text, while the user types it. */
import { RoomcastError, type SearchFilter, type SearchHit } from '@roomcast/client';
import { useEffect, useState } from 'react';
import { useRoomcastClient } from './provider.ts';

/** A pause of typing of this length starts the search. */
const PAUSE_MS = 150;
/** A page of the server may have fewer matches, since the time of a search is limited; the next one goes on. */
const HITS = 20;
const MAX_PAGES = 10;
const SNIPPET_CHARS = 120;

export interface UseSearchResult {
  /** The newest matches; those of an earlier text until the answer is there. */
  hits: readonly SearchHit[];
  /** False while the server has not indexed all messages yet. */
  complete: boolean;
  loading: boolean;
  error: RoomcastError | null;
}

const NOTHING: UseSearchResult = { hits: [], complete: true, loading: false, error: null };

/**
 * Searches the messages of the user's chats. With a blank text it lists the newest messages of the chat and the author or
 * role of the filter; without these it finds nothing and sends no request.
 */
export function useSearch(text: string, { chatId, role, author }: SearchFilter = {}): UseSearchResult {
  const { api } = useRoomcastClient();
  const [result, setResult] = useState(NOTHING);
  const q = text.trim();
  const idle = q === '' && (chatId === undefined || (role === undefined && author === undefined));
  useEffect(() => {
    if (idle) return;
    let current = true;
    const timer = setTimeout(() => {
      setResult((before) => ({ ...before, loading: true }));
      (q === '' ? list() : search()).catch((error: unknown) => {
        if (current && error instanceof RoomcastError) setResult({ ...NOTHING, error });
      });
    }, PAUSE_MS);
    const list = async (): Promise<void> => {
      const { messages } = await api.listMessages(chatId ?? '', { limit: HITS, role, author });
      const hits = messages.toReversed().map(({ id, content, attachments, ...message }): SearchHit => ({
        ...message,
        userId: message.userId ?? null,
        chatTitle: null,
        messageId: id,
        snippet: content.slice(0, SNIPPET_CHARS) || (attachments?.[0]?.name ?? ''),
        matches: [],
      }));
      if (current) setResult({ ...NOTHING, hits });
    };
    const search = async (before: readonly SearchHit[] = [], cursor?: string, pages = 1): Promise<void> => {
      const page = await api.search(q, { chatId, role, author, ...(cursor !== undefined && { cursor }) });
      if (!current) return;
      const hits = [...before, ...page.hits];
      const next = hits.length < HITS && pages < MAX_PAGES ? page.nextCursor : null;
      const loading = next != null;
      // Matches of an earlier text stay until there are others.
      if (hits.length > 0 || !loading) setResult({ hits, complete: page.complete, loading, error: null });
      if (loading) await search(hits, next, pages + 1);
    };
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [api, q, chatId, role, author, idle]);
  return idle ? NOTHING : result;
}
