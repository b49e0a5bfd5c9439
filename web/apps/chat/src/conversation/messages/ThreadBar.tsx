/** Above the messages while only those of one thread are listed. */
import { useEffect, useRef } from 'react';

import { useStrings } from '../../i18n/language.ts';

interface Props {
  readonly replies: number;
  readonly onClose: () => void;
}

export function ThreadBar({ replies, onClose }: Props) {
  const { marks: words } = useStrings();
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    button.current?.focus();
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === 'Escape' && !event.defaultPrevented) onClose();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [onClose]);
  return (
    <div className="thread-bar" role="status" data-testid="thread">
      <strong>{words.thread}</strong>
      <span>{words.replies(replies)}</span>
      <button ref={button} type="button" className="link" data-testid="thread-close" onClick={onClose}>
        {words.closeThread}
      </button>
    </div>
  );
}
