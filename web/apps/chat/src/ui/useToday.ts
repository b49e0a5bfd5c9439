/** The current date; renders again after midnight. */
import { useSyncExternalStore } from 'react';

function startOfToday(): number {
  const now = new Date();
  return new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
}

// Polled, because a timer for midnight would be late after the device slept.
const CHECK_MS = 60_000;

function subscribe(listener: () => void): () => void {
  const timer = setInterval(listener, CHECK_MS);
  return () => clearInterval(timer);
}

export function useToday(): Date {
  return new Date(useSyncExternalStore(subscribe, startOfToday));
}
