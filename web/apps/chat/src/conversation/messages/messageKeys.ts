/** Arrow keys in the list of messages: each message gets the focus in turn, and its actions follow with Tab. */
import type { KeyboardEvent } from 'react';

const MESSAGE = '[data-message-id]';

export function focusLastMessage(): void {
  [...document.querySelectorAll<HTMLElement>(MESSAGE)].at(-1)?.focus();
}

/** For the list. After the last message, and with Escape, the message field has the focus. */
export function onMessageKey(event: KeyboardEvent<HTMLElement>): void {
  const step = { ArrowUp: -1, ArrowDown: 1, Escape: Infinity }[event.key];
  const target = event.target as HTMLElement;
  const message = target.closest<HTMLElement>(MESSAGE);
  // The browser closes a dialog, such as that of a picture, by Escape.
  if (step === undefined || message === null || target.closest('input, textarea, select, dialog') !== null) return;
  const all = [...event.currentTarget.querySelectorAll<HTMLElement>(MESSAGE)];
  const next = all.indexOf(message) + step;
  event.preventDefault();
  if (next >= all.length) document.getElementById('composer')?.focus();
  else all[Math.max(0, next)]?.focus();
}
