/** Says when own messages are sent again that a rate limit of the server delays. */
import { useEffect, useState } from 'react';

import { useStrings } from '../../i18n/language.ts';

/** Whole seconds until then, at least 1, counted down while the line is shown. */
function useSecondsUntil(time: Date): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  return Math.max(1, Math.ceil((time.getTime() - now) / 1_000));
}

export function RateLimitLine({ sendsAgainAt }: { readonly sendsAgainAt: Date }) {
  const { conversation: words } = useStrings();
  const seconds = useSecondsUntil(sendsAgainAt);
  return (
    // Announced once: a screen reader would read every second.
    <p className="failure" data-testid="rate-limit">
      <span className="visually-hidden" role="status">
        {words.rateLimitedShort}
      </span>
      <span aria-hidden="true">{words.rateLimited(seconds)}</span>
    </p>
  );
}
