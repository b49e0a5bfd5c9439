/** Notifications of the open page, while it is hidden and no pushes arrive. */
import type { ChatSummary } from '@roomcast/react';
import { useEffect, useRef } from 'react';

import { titleOf } from '../chats/titles.ts';
import { useStrings } from '../i18n/language.ts';
import { openChat } from '../routing/route.ts';
import { summaryOf } from '../text/summary.ts';
import type { DeviceState } from './device.ts';

/** Whether the new messages of a chat notify the user. */
function notifies(before: ChatSummary | undefined, now: ChatSummary): boolean {
  if (before === undefined || now.unread <= before.unread) return false;
  if (now.notify === 'mentions') return now.direct !== null || now.mentions > before.mentions;
  return now.notify === 'all';
}

export function usePageNotifications(chats: readonly ChatSummary[], me: string, state: DeviceState): void {
  const { chats: words } = useStrings();
  const before = useRef(new Map<string, ChatSummary>());
  useEffect(() => {
    const known = before.current;
    before.current = new Map(chats.map((chat) => [chat.id, chat]));
    if (state !== 'page' || document.visibilityState === 'visible' || Notification.permission !== 'granted') return;
    for (const chat of chats) {
      if (notifies(known.get(chat.id), chat))
        show(chat, titleOf(chat, words, me), summaryOf(chat.preview ?? '', chat.previewFile));
    }
  }, [chats, me, state, words]);
}

function show(chat: ChatSummary, title: string, body: string): void {
  try {
    // A later notification of the chat replaces an earlier one.
    const shown = new Notification(title, { body, tag: chat.id });
    shown.onclick = () => {
      window.focus();
      openChat(chat.id);
      shown.close();
    };
  } catch {
    // Browsers of phones show notifications of service workers only.
  }
}
