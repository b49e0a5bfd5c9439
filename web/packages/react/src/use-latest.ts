/** Callbacks that may change with every render without anything being subscribed anew. */
import { useEffect, useLayoutEffect, useRef } from 'react';

// On a server there is no layout, and React warns about the effect.
const useCommitEffect = typeof window === 'undefined' ? useEffect : useLayoutEffect;

/** A ref that holds the value of the last committed render. (React 18 and 19 type refs differently.) */
export function useLatest<T>(value: T): { readonly current: T } {
  const ref = useRef(value);
  useCommitEffect(() => {
    ref.current = value;
  });
  return ref;
}
