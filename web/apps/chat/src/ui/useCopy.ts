/** Copies a text, and confirms it for a moment. */
import { useEffect, useState } from 'react';

const SHOWN_MS = 2_000;

/** @returns Whether the text was copied just now, and the function that copies; null where the browser has no clipboard. */
export function useCopy(text: string): readonly [boolean, (() => void) | null] {
  const [copied, setCopied] = useState(false);

  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [copied]);

  function copy(): void {
    navigator.clipboard.writeText(text).then(
      () => setCopied(true),
      // The browser denied access to the clipboard.
      () => setCopied(false),
    );
  }

  // The clipboard API exists only in secure contexts (HTTPS or localhost).
  return [copied, window.isSecureContext ? copy : null];
}
