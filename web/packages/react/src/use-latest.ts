/** Access to the latest callback without a new subscription per render. */
import { useEffect, useLayoutEffect, useRef } from 'react';

// React warns about useLayoutEffect during server rendering.
const useCommitEffect = typeof window === 'undefined' ? useEffect : useLayoutEffect;

/** A ref to the value of the last committed render. (The ref types of React 18 and 19 differ.) */
export function useLatest<T>(value: T): { readonly current: T } {
  const ref = useRef(value);
  useCommitEffect(() => {
    ref.current = value;
  });
  return ref;
}
