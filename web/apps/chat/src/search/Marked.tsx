/** A snippet with its matches. */
import type { SearchHit } from '@roomcast/react';
import type { ReactNode } from 'react';

export function Marked({ hit: { snippet, matches } }: { readonly hit: SearchHit }) {
  const parts: ReactNode[] = [];
  let end = 0;
  for (const [start, stop] of matches as readonly [number, number][]) {
    parts.push(snippet.slice(end, start), <mark key={start}>{snippet.slice(start, stop)}</mark>);
    end = stop;
  }
  return <>{[...parts, snippet.slice(end)]}</>;
}
