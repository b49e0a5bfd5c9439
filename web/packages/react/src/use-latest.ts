/** Callbacks that may change with every render without anything being subscribed anew. */
import { type RefObject, useLayoutEffect, useRef, useEffect } from 'react';

// On a server there is no layout, and React warns about the effect.
const useCommitEffect = typeof window === 'undefined' ? useEffect : useLayoutEffect;

/** A ref that holds the value of the last committed render. */
export function useLatest<T>(value: T): RefObject<T> {
  const ref = useRef(value);
  useCommitEffect(() => {
    ref.current = value;
  });
  return ref;
}
