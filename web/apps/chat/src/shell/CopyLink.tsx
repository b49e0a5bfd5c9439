/** A button that copies the URL of the chat and briefly confirms it. */
import { useEffect, useState } from 'react';

import { useStrings } from '../i18n/language.ts';
import { chatPath } from '../routing/route.ts';
import { Icon } from '../ui/Icon.tsx';

const SHOWN_MS = 2_000;

export function CopyLink({ chatId }: { readonly chatId: string }) {
  const { chats: words } = useStrings();
  const [copied, setCopied] = useState(false);

  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [copied]);

  function copy(): void {
    navigator.clipboard.writeText(new URL(chatPath(chatId), window.location.origin).href).then(
      () => setCopied(true),
      // The browser denied access to the clipboard. The address bar also shows the URL.
      () => setCopied(false),
    );
  }

  // The clipboard API exists only in secure contexts (HTTPS or localhost).
  if (!window.isSecureContext) return null;
  return (
    <button type="button" className="icon-button" aria-label={words.copyLink} title={words.copyLink} onClick={copy}>
      <Icon name={copied ? 'check' : 'link'} />
      <span className="visually-hidden" role="status">
        {copied ? words.linkCopied : ''}
      </span>
    </button>
  );
}
