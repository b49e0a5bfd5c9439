/** Routes of the page, below the base path: `/` redirects to a chat, `/c/{chatId}` shows a chat, `/join/{token}` an invitation, any other path is unknown. */
import { useSyncExternalStore } from 'react';

import { Listeners, onEvents } from '../listeners.ts';
import { BASE_PATH } from './base.ts';

/** The home chat without authentication: open to every user, and created by its first message. */
export const LOBBY = 'lobby';

export type Route =
  | { readonly name: 'home' }
  | { readonly name: 'chat'; readonly chatId: string }
  | { readonly name: 'join'; readonly token: string }
  | { readonly name: 'unknown' };

// The pattern of the API. `.` and `..` are invalid, because URL parsers remove these path segments.
const CHAT_ID = /^(?!\.{1,2}$)[A-Za-z0-9._:~@-]{1,128}$/;

/** Parses a path with or without the base path, because the server serves both. */
export function parsePath(path: string, base = BASE_PATH): Route {
  const route = `${path}/`.startsWith(base) ? path.slice(base.length) : path.slice(1);
  if (route === '') return { name: 'home' };
  const token = /^join\/([A-Za-z0-9_-]{32})\/?$/.exec(route)?.[1];
  if (token !== undefined) return { name: 'join', token };
  const encoded = /^c\/([^/]+)\/?$/.exec(route)?.[1];
  if (encoded === undefined) return { name: 'unknown' };
  try {
    const chatId = decodeURIComponent(encoded);
    return CHAT_ID.test(chatId) ? { name: 'chat', chatId } : { name: 'unknown' };
  } catch (error) {
    if (error instanceof URIError) return { name: 'unknown' };
    throw error;
  }
}

export function chatPath(chatId: string, base = BASE_PATH): string {
  return `${base}c/${encodeURIComponent(chatId)}`;
}

/** The path of an invite link. */
export function invitePath(token: string, base = BASE_PATH): string {
  return `${base}join/${token}`;
}

const listeners = new Listeners(onEvents(window, 'popstate'));

/** Opens a chat with a new history entry. */
export function openChat(chatId: string): void {
  const path = chatPath(chatId);
  if (path !== window.location.pathname) window.history.pushState(null, '', path);
  listeners.notify();
}

/** Opens the home page, which opens a chat. */
export function openHome(): void {
  window.history.pushState(null, '', BASE_PATH);
  listeners.notify();
}

/** Counts the opened messages: the same one may be opened again. */
let opened = 0;

/** Opens a chat at the message with a place. */
export function openMessage(chatId: string, place: number): void {
  opened += 1;
  window.history.pushState(null, '', `${chatPath(chatId)}#m${place}`);
  listeners.notify();
}

/** The fragment of the address, after a text that differs for each opened message. */
export function useTarget(): string {
  return useSyncExternalStore(listeners.subscribe, () => `${opened}${window.location.hash}`);
}

export function placeIn(hash: string): number | null {
  const digits = /#m(\d{1,15})$/.exec(hash)?.[1];
  return digits === undefined ? null : Number(digits);
}

/** Opens a chat without a new history entry. */
export function redirectToChat(chatId: string): void {
  window.history.replaceState(null, '', chatPath(chatId));
  listeners.notify();
}

export function usePath(): string {
  return useSyncExternalStore(listeners.subscribe, () => window.location.pathname);
}
