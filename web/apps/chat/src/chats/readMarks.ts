/**
 * How far this person has read each chat, for the unread dots. Kept by the browser.
 *
 * A chat without a mark counts as read if it was last active before this person's first visit, so that a newcomer is
 * not greeted by a list of dots.
 */
import { useSyncExternalStore } from 'react';

import { shared } from '../storage/storage.ts';

/** What of a chat is needed here. */
export interface Progress {
  readonly id: string;
  readonly lastSeq: number;
  readonly lastActivityAt: Date;
}

export interface Marks {
  /** Newest activity that was seen at the first visit, in the server's milliseconds; null before it. */
  readonly since: number | null;
  /** Seq by chat id, the longest unused first. */
  readonly seqs: Readonly<Record<string, number>>;
}

const NO_MARKS: Marks = { since: null, seqs: {} };
// More chats than anybody follows; the oldest marks go first.
const MAX_MARKS = 500;

export function parseMarks(text: string | null): Marks {
  if (text === null) return NO_MARKS;
  try {
    const { since, seqs } = JSON.parse(text) as Partial<Marks>;
    const valid = Object.entries(seqs ?? {}).filter(([, seq]) => Number.isSafeInteger(seq));
    return { since: typeof since === 'number' ? since : null, seqs: Object.fromEntries(valid) };
  } catch {
    // Not ours, or from a version that wrote it otherwise: begin anew.
    return NO_MARKS;
  }
}

export function isUnread(marks: Marks, chat: Progress): boolean {
  const seq = marks.seqs[chat.id];
  // Unequal, not greater: a history that was lost and began anew is news too.
  if (seq !== undefined) return chat.lastSeq !== seq;
  return marks.since !== null && chat.lastSeq > 0 && chat.lastActivityAt.getTime() > marks.since;
}

export function withRead(marks: Marks, chatId: string, seq: number): Marks {
  if (marks.seqs[chatId] === seq) return marks;
  const others = Object.entries(marks.seqs).filter(([id]) => id !== chatId);
  return { ...marks, seqs: Object.fromEntries([...others.slice(1 - MAX_MARKS), [chatId, seq]]) };
}

/** Remembers what was there at the first visit. */
export function withBaseline(marks: Marks, chats: readonly Progress[]): Marks {
  if (marks.since !== null) return marks;
  return { ...marks, since: Math.max(0, ...chats.map((chat) => chat.lastActivityAt.getTime())) };
}

/** One person's marks, with listeners. */
export class ReadMarks {
  readonly #key: string;
  readonly #listeners = new Set<() => void>();
  #marks: Marks;

  constructor(userId: string) {
    this.#key = `read.${userId}`;
    this.#marks = parseMarks(shared.get(this.#key));
  }

  readonly get = (): Marks => this.#marks;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  read(chatId: string, seq: number): void {
    this.#change((marks) => withRead(marks, chatId, seq));
  }

  begin(chats: readonly Progress[]): void {
    this.#change((marks) => withBaseline(marks, chats));
  }

  #change(change: (marks: Marks) => Marks): void {
    if (change(this.#marks) === this.#marks) return;
    // Another tab of the same person may have read on.
    this.#marks = change(parseMarks(shared.get(this.#key)));
    shared.set(this.#key, JSON.stringify(this.#marks));
    for (const listener of this.#listeners) listener();
  }
}

export function useMarks(marks: ReadMarks): Marks {
  return useSyncExternalStore(marks.subscribe, marks.get);
}
