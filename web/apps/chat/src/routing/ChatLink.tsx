/** A link to a chat. A plain click navigates without a page load; the browser handles any other click. */
import type { AnchorHTMLAttributes, MouseEvent } from 'react';

import { chatPath, openChat } from './route.ts';

interface Props extends Omit<AnchorHTMLAttributes<HTMLAnchorElement>, 'href'> {
  readonly chatId: string;
  readonly onOpen?: () => void;
}

export function ChatLink({ chatId, onOpen, ...anchor }: Props) {
  function onClick(event: MouseEvent<HTMLAnchorElement>): void {
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!plain) return;
    event.preventDefault();
    openChat(chatId);
    onOpen?.();
  }
  return <a {...anchor} href={chatPath(chatId)} onClick={onClick} />;
}
