/** The button of the search, and its shortcut: Ctrl+K, on Apple's keyboards Cmd+K. */
import type { ChatSummary } from '@roomcast/react';
import { useEffect, useState } from 'react';
import { createPortal } from 'react-dom';

import { useStrings } from '../i18n/language.ts';
import { Icon } from '../ui/Icon.tsx';
import { SearchDialog } from './SearchDialog.tsx';

interface Props {
  readonly chats: readonly ChatSummary[];
  /** The open chat; null if there is none. */
  readonly chatId: string | null;
  readonly me: string;
  /** Called when the search closes. */
  readonly onOpen: () => void;
}

export function Search({ chats, chatId, me, onOpen }: Props) {
  const { search: words } = useStrings();
  const [open, setOpen] = useState(false);

  useEffect(() => {
    function onKeyDown(event: KeyboardEvent): void {
      if (!(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey || event.key.toLowerCase() !== 'k')
        return;
      event.preventDefault();
      setOpen(true);
    }
    window.addEventListener('keydown', onKeyDown);
    return () => window.removeEventListener('keydown', onKeyDown);
  }, []);

  return (
    <>
      <button
        type="button"
        className="search-button"
        data-testid="open-search"
        aria-keyshortcuts="Control+K Meta+K"
        onClick={() => setOpen(true)}
      >
        <Icon name="search" />
        <span>{words.title}</span>
      </button>
      {/* Outside of the sidebar, which is inert while it is off screen. */}
      {open &&
        createPortal(
          <SearchDialog
            chats={chats}
            chatId={chatId}
            me={me}
            onClose={() => {
              setOpen(false);
              onOpen();
            }}
          />,
          document.body,
        )}
    </>
  );
}
