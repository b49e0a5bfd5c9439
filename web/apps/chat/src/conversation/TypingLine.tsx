/** Who writes at the moment. Its place is always kept, so that nothing moves when it comes and goes. */
import { useEffect, useRef, useState } from 'react';

import { useFormats, useStrings } from '../i18n/language.ts';

/** Who types in passing is not worth hearing of. */
const SETTLED_MS = 700;
/** More names than this say less than their number does. */
const NAMED = 2;
/** Heard once in so long: in a lively chat it would drown the messages. */
const QUIET_MS = 20_000;

/** What is read out: a text that has stood for a moment, seldom. */
function useSeldom(text: string): string {
  const [said, setSaid] = useState('');
  const saidAt = useRef(Number.NEGATIVE_INFINITY);
  useEffect(() => {
    if (text === '') return;
    const timer = setTimeout(() => {
      if (performance.now() - saidAt.current < QUIET_MS) return;
      saidAt.current = performance.now();
      setSaid(text);
    }, SETTLED_MS);
    return () => {
      clearTimeout(timer);
      setSaid('');
    };
  }, [text]);
  return said;
}

export function TypingLine({ userIds }: { readonly userIds: readonly string[] }) {
  const { conversation: words } = useStrings();
  const formats = useFormats();
  const count = userIds.length;
  const text = count === 0 ? '' : count > NAMED ? words.manyTyping : words.typing(formats.list(userIds), count);
  const said = useSeldom(text);
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
        {said}
      </p>
    </div>
  );
}
