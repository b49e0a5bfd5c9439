/**
 * Up to which message the user has read each chat, for the unread dots; kept in the browser's storage per user.
 *
 * A chat is unread if another user wrote its last message, and the message is beyond the chat's mark. A chat without a
 * mark counts as read if that message is older than the user's first visit.
 */
import type { ChatSummary, LastMessage } from '@roomcast/react';
import { useSyncExternalStore } from 'react';

import { Listeners } from '../listeners.ts';
import { onSharedChange, shared, userKey } from '../storage/storage.ts';

/** The members of a chat that determine whether it is unread. */
export type ChatProgress = Pick<ChatSummary, 'id' | 'lastMessage'>;

type Position = Pick<LastMessage, 'epoch' | 'seq'>;

export interface Marks {
  /** Time of the newest message at the first visit, in milliseconds of the server's clock; null before the first visit. */
  readonly since: number | null;
  /** Last read message by chat id, least recently updated first. */
  readonly read: ReadonlyMap<string, Position>;
}

export const NO_MARKS: Marks = { since: null, read: new Map() };
// Limits the size of the stored value; the least recently updated marks are dropped.
const MAX_MARKS = 500;

/** Reads the stored value: `{since, read: [[chatId, epoch, seq], …]}`. */
export function parseMarks(text: string | null): Marks {
  try {
    const { since, read } = JSON.parse(text ?? '') as { since: unknown; read: [unknown, unknown, unknown][] };
    const marks = new Map<string, Position>();
    for (const [chatId, epoch, seq] of read) {
      if (typeof chatId !== 'string' || typeof epoch !== 'string' || !Number.isSafeInteger(seq)) return NO_MARKS;
      marks.set(chatId, { epoch, seq: seq as number });
    }
    return { since: typeof since === 'number' ? since : null, read: marks };
  } catch {
    // Nothing is stored, or the value has another format: it is ignored.
    return NO_MARKS;
  }
}

export function stringifyMarks({ since, read }: Marks): string {
  // A list, because an object would list ids that are integers first.
  return JSON.stringify({ since, read: [...read].map(([chatId, { epoch, seq }]) => [chatId, epoch, seq]) });
}

/** @param me - The reader's user id; own messages are never unread. */
export function isUnread(marks: Marks, { id, lastMessage }: ChatProgress, me: string): boolean {
  if (lastMessage === null || lastMessage.userId === me) return false;
  const mark = marks.read.get(id);
  // In another epoch than that of the mark, for example in a restored database, the message is a later one.
  if (mark !== undefined) return lastMessage.epoch !== mark.epoch || lastMessage.seq > mark.seq;
  return marks.since !== null && lastMessage.time.getTime() > marks.since;
}

export function withRead(marks: Marks, chatId: string, { epoch, seq }: Position): Marks {
  const mark = marks.read.get(chatId);
  if (mark?.epoch === epoch && mark.seq >= seq) return marks;
  const others = [...marks.read].filter(([id]) => id !== chatId);
  return { ...marks, read: new Map([...others.slice(1 - MAX_MARKS), [chatId, { epoch, seq }]]) };
}

/** Sets `since` at the first visit. */
export function withBaseline(marks: Marks, chats: readonly ChatProgress[]): Marks {
  if (marks.since !== null) return marks;
  return { ...marks, since: Math.max(0, ...chats.map(({ lastMessage }) => lastMessage?.time.getTime() ?? 0)) };
}

/** The stored marks of one user, as an external store for React. */
export class ReadMarks {
  readonly #key: string;
  readonly #listeners: Listeners;
  #marks: Marks;

  constructor(userId: string) {
    this.#key = userKey(userId, 'read');
    this.#marks = parseMarks(shared.get(this.#key));
    this.#listeners = new Listeners((notify) =>
      onSharedChange(this.#key, () => {
        this.#marks = parseMarks(shared.get(this.#key));
        notify();
      }),
    );
  }

  readonly get = (): Marks => this.#marks;

  readonly subscribe = (listener: () => void): (() => void) => this.#listeners.subscribe(listener);

  read({ id, lastMessage }: ChatProgress): void {
    if (lastMessage !== null) this.#change((marks) => withRead(marks, id, lastMessage));
  }

  setBaseline(chats: readonly ChatProgress[]): void {
    this.#change((marks) => withBaseline(marks, chats));
  }

  #change(change: (marks: Marks) => Marks): void {
    if (change(this.#marks) === this.#marks) return;
    // Another tab of the same user may have stored newer marks.
    this.#marks = change(parseMarks(shared.get(this.#key)));
    shared.set(this.#key, stringifyMarks(this.#marks));
    this.#listeners.notify();
  }
}

export function useMarks(marks: ReadMarks): Marks {
  return useSyncExternalStore(marks.subscribe, marks.get);
}
