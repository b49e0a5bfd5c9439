/**
 * The last read seq of each chat, for the unread dots; kept in the browser's storage per user.
 *
 * A chat without a mark counts as read if its last activity is older than the user's first visit.
 */
import { useSyncExternalStore } from 'react';

import { Listeners } from '../listeners.ts';
import { shared } from '../storage/storage.ts';

/** The members of a chat that determine whether it is unread. */
export interface ChatProgress {
  readonly id: string;
  readonly lastSeq: number;
  readonly lastActivityAt: Date;
}

export interface Marks {
  /** Newest activity at the first visit, in milliseconds of the server's clock; null before the first visit. */
  readonly since: number | null;
  /** Last read seq by chat id, least recently updated first. */
  readonly seqs: Readonly<Record<string, number>>;
}

const NO_MARKS: Marks = { since: null, seqs: {} };
// Limits the size of the stored value; the least recently updated marks are dropped.
const MAX_MARKS = 500;

export function parseMarks(text: string | null): Marks {
  if (text === null) return NO_MARKS;
  try {
    const { since, seqs } = JSON.parse(text) as Partial<Marks>;
    const valid = Object.entries(seqs ?? {}).filter(([, seq]) => Number.isSafeInteger(seq));
    return { since: typeof since === 'number' ? since : null, seqs: Object.fromEntries(valid) };
  } catch {
    // The stored value is not valid JSON, or has another format: it is ignored.
    return NO_MARKS;
  }
}

export function isUnread(marks: Marks, chat: ChatProgress): boolean {
  const seq = marks.seqs[chat.id];
  // `!==` instead of `>`: after a reset of the history, the chat is unread although its seq is lower.
  if (seq !== undefined) return chat.lastSeq !== seq;
  return marks.since !== null && chat.lastSeq > 0 && chat.lastActivityAt.getTime() > marks.since;
}

export function withRead(marks: Marks, chatId: string, seq: number): Marks {
  if (marks.seqs[chatId] === seq) return marks;
  const others = Object.entries(marks.seqs).filter(([id]) => id !== chatId);
  return { ...marks, seqs: Object.fromEntries([...others.slice(1 - MAX_MARKS), [chatId, seq]]) };
}

/** Sets `since` at the first visit. */
export function withBaseline(marks: Marks, chats: readonly ChatProgress[]): Marks {
  if (marks.since !== null) return marks;
  return { ...marks, since: Math.max(0, ...chats.map((chat) => chat.lastActivityAt.getTime())) };
}

/** The stored marks of one user, as an external store for React. */
export class ReadMarks {
  readonly #key: string;
  readonly #listeners = new Listeners();
  #marks: Marks;

  constructor(userId: string) {
    this.#key = `read.${userId}`;
    this.#marks = parseMarks(shared.get(this.#key));
  }

  readonly get = (): Marks => this.#marks;

  readonly subscribe = (listener: () => void): (() => void) => this.#listeners.subscribe(listener);

  read(chatId: string, seq: number): void {
    this.#change((marks) => withRead(marks, chatId, seq));
  }

  setBaseline(chats: readonly ChatProgress[]): void {
    this.#change((marks) => withBaseline(marks, chats));
  }

  #change(change: (marks: Marks) => Marks): void {
    if (change(this.#marks) === this.#marks) return;
    // Another tab of the same user may have stored newer marks.
    this.#marks = change(parseMarks(shared.get(this.#key)));
    shared.set(this.#key, JSON.stringify(this.#marks));
    this.#listeners.notify();
  }
}

export function useMarks(marks: ReadMarks): Marks {
  return useSyncExternalStore(marks.subscribe, marks.get);
}
