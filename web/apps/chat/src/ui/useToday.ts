/** Hook for the current date: the component renders again within a minute after midnight. */
import { useSyncExternalStore } from 'react';

function startOfToday(): number {
  const now = new Date();
  return new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
}

// Polling, because a timer set for midnight would fire late if the device had been asleep.
const CHECK_MS = 60_000;

function subscribe(listener: () => void): () => void {
  const timer = setInterval(listener, CHECK_MS);
  return () => clearInterval(timer);
}

export function useToday(): Date {
  return new Date(useSyncExternalStore(subscribe, startOfToday));
}
