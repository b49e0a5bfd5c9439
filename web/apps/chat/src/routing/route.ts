/** The address bar: `/` leads to a first chat, `/c/{chatId}` is a chat; anything else is told so. */
import { useSyncExternalStore } from 'react';

/** Where a visitor without an account lands: everybody may be in it, and the first message makes it. */
export const LOBBY = 'lobby';

export type Route =
  { readonly name: 'home' } | { readonly name: 'chat'; readonly chatId: string } | { readonly name: 'unknown' };

// As the API takes them; a dot or two would be resolved away in a URL.
const CHAT_ID = /^(?!\.{1,2}$)[A-Za-z0-9._:~@-]{1,128}$/;

export function parsePath(path: string): Route {
  if (path === '/') return { name: 'home' };
  const encoded = /^\/c\/([^/]+)\/?$/.exec(path)?.[1];
  if (encoded === undefined) return { name: 'unknown' };
  try {
    const chatId = decodeURIComponent(encoded);
    return CHAT_ID.test(chatId) ? { name: 'chat', chatId } : { name: 'unknown' };
  } catch (error) {
    if (error instanceof URIError) return { name: 'unknown' };
    throw error;
  }
}

export function chatPath(chatId: string): string {
  return `/c/${encodeURIComponent(chatId)}`;
}

const listeners = new Set<() => void>();

function notify(): void {
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  if (listeners.size === 0) window.addEventListener('popstate', notify);
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) window.removeEventListener('popstate', notify);
  };
}

export function openChat(chatId: string): void {
  const path = chatPath(chatId);
  if (path !== window.location.pathname) window.history.pushState(null, '', path);
  notify();
}

/** Like `openChat`, without a step of its own to go back to. */
export function landIn(chatId: string): void {
  window.history.replaceState(null, '', chatPath(chatId));
  notify();
}

export function usePath(): string {
  return useSyncExternalStore(subscribe, () => window.location.pathname);
}
