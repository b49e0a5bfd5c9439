/** Messages that match a text, while the user types it. */
import { RoomcastError, type SearchHit } from '@roomcast/client';
import { useEffect, useState } from 'react';
import { useRoomcastClient } from './provider.ts';

/** A pause of typing of this length starts the search. */
const PAUSE_MS = 150;
/** A page of the server may have fewer matches, since the time of a search is limited; the next one goes on. */
const HITS = 20;
const MAX_PAGES = 10;

export interface UseSearchResult {
  /** The newest matches; those of an earlier text until the answer is there. */
  hits: readonly SearchHit[];
  /** False while the server has not indexed all messages yet. */
  complete: boolean;
  loading: boolean;
  error: RoomcastError | null;
}

const NOTHING: UseSearchResult = { hits: [], complete: true, loading: false, error: null };

/** Searches the messages of the user's chats. A blank text finds nothing and sends no request. */
export function useSearch(text: string): UseSearchResult {
  const { api } = useRoomcastClient();
  const [result, setResult] = useState(NOTHING);
  const q = text.trim();
  useEffect(() => {
    if (q === '') return;
    let current = true;
    const timer = setTimeout(() => {
      setResult((before) => ({ ...before, loading: true }));
      search().catch((error: unknown) => {
        if (current && error instanceof RoomcastError) setResult({ ...NOTHING, error });
      });
    }, PAUSE_MS);
    const search = async (before: readonly SearchHit[] = [], cursor?: string, pages = 1): Promise<void> => {
      const page = await api.search(q, cursor === undefined ? {} : { cursor });
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
  }, [api, q]);
  return q === '' ? NOTHING : result;
}
