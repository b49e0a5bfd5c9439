/** Today's date; renders again when a new day begins, so that `Today` does not lie after midnight. */
import { useSyncExternalStore } from 'react';

function startOfToday(): number {
  const now = new Date();
  return new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
}

// A minute's lateness is fine, and a timer for midnight would be off after the machine slept.
const CHECK_MS = 60_000;

function subscribe(listener: () => void): () => void {
  const timer = setInterval(listener, CHECK_MS);
  return () => clearInterval(timer);
}

export function useNow(): Date {
  return new Date(useSyncExternalStore(subscribe, startOfToday));
}
