/** Gives a subscription access to the latest callback, so that it need not be renewed on each render. */
import { useEffect, useLayoutEffect, useRef } from 'react';

// React 18 warns about useLayoutEffect during server rendering.
const useCommitEffect = typeof window === 'undefined' ? useEffect : useLayoutEffect;

/** Returns a ref to the value of the last committed render. (The ref types of React 18 and 19 differ.) */
export function useLatest<T>(value: T): { readonly current: T } {
  const ref = useRef(value);
  useCommitEffect(() => {
    ref.current = value;
  });
  return ref;
}
