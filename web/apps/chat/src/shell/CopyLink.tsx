/** A button that copies the URL of the chat and briefly confirms it. */
import { useStrings } from '../i18n/language.ts';
import { chatPath } from '../routing/route.ts';
import { Icon } from '../ui/Icon.tsx';
import { useCopy } from '../ui/useCopy.ts';

export function CopyLink({ chatId }: { readonly chatId: string }) {
  const { chats: words } = useStrings();
  const [copied, copy] = useCopy(new URL(chatPath(chatId), window.location.origin).href);
  // Without a clipboard, the address bar also shows the URL.
  if (copy === null) return null;
  return (
    <button
      type="button"
      className="icon-button copy-link"
      aria-label={words.copyLink}
      title={words.copyLink}
      onClick={copy}
    >
      <Icon name={copied ? 'check' : 'link'} />
      <span className="visually-hidden" role="status">
        {copied ? words.linkCopied : ''}
      </span>
    </button>
  );
}
