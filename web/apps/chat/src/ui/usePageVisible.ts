/** True while the page is visible: not in a background tab or a minimized window. */
import { useSyncExternalStore } from 'react';

import { onEvents } from '../listeners.ts';

const subscribe = onEvents(document, 'visibilitychange');

export function usePageVisible(): boolean {
  return useSyncExternalStore(subscribe, () => document.visibilityState === 'visible');
}
