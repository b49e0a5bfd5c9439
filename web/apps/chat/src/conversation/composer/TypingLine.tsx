/** Names of typing users. The line keeps its height, so that the layout does not shift. */
import { useEffect, useRef, useState } from 'react';

import { useFormats, useStrings } from '../../i18n/language.ts';

/** A text is announced only if it stays unchanged for this time. */
const ANNOUNCE_AFTER_MS = 700;
/** Names are shown for up to this number of typing users. */
const MAX_NAMES = 2;
/** Minimum interval between announcements, so that they do not interrupt messages. */
const ANNOUNCE_INTERVAL_MS = 20_000;

/** The text for screen readers: announced only when it is stable, and at a limited rate. */
function useThrottledAnnouncement(text: string): string {
  const [announced, setAnnounced] = useState('');
  const announcedAt = useRef(Number.NEGATIVE_INFINITY);
  useEffect(() => {
    if (text === '') return;
    const timer = setTimeout(() => {
      if (performance.now() - announcedAt.current < ANNOUNCE_INTERVAL_MS) return;
      announcedAt.current = performance.now();
      setAnnounced(text);
    }, ANNOUNCE_AFTER_MS);
    return () => {
      clearTimeout(timer);
      setAnnounced('');
    };
  }, [text]);
  return announced;
}

export function TypingLine({ userIds }: { readonly userIds: readonly string[] }) {
  const { conversation: words } = useStrings();
  const formats = useFormats();
  const count = userIds.length;
  const text = count === 0 ? '' : count > MAX_NAMES ? words.manyTyping : words.typing(formats.list(userIds), count);
  const announcement = useThrottledAnnouncement(text);
  return (
    <div className="typing" data-testid="typing" data-count={count}>
      {text !== '' && (
        <p className="typing__line">
          <span className="typing__dots" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
          <span className="typing__text" dir="auto">
            {text}
          </span>
        </p>
      )}
      <p className="visually-hidden" role="status">
        {announcement}
      </p>
    </div>
  );
}
