/** Messages that match a text, while the user types it. */
import { RoomcastError, type SearchHit } from '@roomcast/client';
import { useEffect, useState } from 'react';
import { useRoomcastClient } from './provider.ts';

/** A pause of typing of this length starts the search. */
const PAUSE_MS = 150;

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
      api.search(q).then(
        ({ hits, complete }) => {
          if (current) setResult({ hits, complete, loading: false, error: null });
        },
        (error: unknown) => {
          if (current && error instanceof RoomcastError) setResult({ ...NOTHING, error });
        },
      );
    }, PAUSE_MS);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [api, q]);
  return q === '' ? NOTHING : result;
}
