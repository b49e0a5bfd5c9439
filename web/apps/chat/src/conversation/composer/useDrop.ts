/** Files that are dropped anywhere on the page. Elsewhere the browser would open them in its place. */
import { useEffect, useEffectEvent, useState } from 'react';

/**
 * @param add - Takes the files; null: none are accepted.
 * @returns Whether files are dragged over the page.
 */
export function useDrop(add: ((files: readonly File[]) => void) | null): boolean {
  const [over, setOver] = useState(false);
  const take = useEffectEvent((files: readonly File[]) => add?.(files));
  const accepts = add !== null;
  useEffect(() => {
    const listening = new AbortController();
    const on = (type: 'dragover' | 'dragleave' | 'drop', handle: (event: DragEvent) => void): void =>
      window.addEventListener(
        type,
        (event) => {
          if (event.dataTransfer?.types.includes('Files') === true) handle(event);
        },
        { signal: listening.signal },
      );
    if (accepts) {
      on('dragover', (event) => {
        event.preventDefault();
        setOver(true);
      });
      // Without a next element, the pointer left the page.
      on('dragleave', ({ relatedTarget }) => relatedTarget === null && setOver(false));
      on('drop', (event) => {
        event.preventDefault();
        setOver(false);
        take([...(event.dataTransfer?.files ?? [])]);
      });
    }
    return () => listening.abort();
  }, [accepts]);
  return over && accepts;
}
