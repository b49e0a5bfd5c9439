/** Placeholder while the messages load. */
import { useStrings } from '../i18n/language.ts';

const LINES = ['other', 'other', 'mine', 'other', 'mine'] as const;

export function Skeleton() {
  const { app } = useStrings();
  return (
    <div className="skeleton" role="status" aria-label={app.loading} data-testid="skeleton">
      {LINES.map((side, index) => (
        <span key={index} className={`skeleton__line skeleton__line--${side}`} />
      ))}
    </div>
  );
}
