/** Orders messages for the eye: by day, and within a day by author. Pure; the views compare groups to skip work. */
import type { ChatEntry } from '@roomcast/react';

import { dayOf } from '../i18n/formats.ts';

/** Messages of one author that follow each other closely. */
export interface Group {
  readonly key: string;
  readonly role: ChatEntry['role'];
  readonly userId: string | null;
  readonly mine: boolean;
  readonly messages: readonly ChatEntry[];
}

export interface Day {
  readonly key: string;
  readonly date: Date;
  readonly groups: readonly Group[];
}

// After a pause of this length the author and the time are told again.
const PAUSE_MS = 5 * 60_000;

/**
 * A group ends where the seq passes a multiple of this, wherever a page of history began: else history that is added
 * above a long run of one author would build the whole run anew, and throw the reader to the end.
 */
const RUN_SEQS = 20;

interface OpenGroup extends Group {
  readonly messages: ChatEntry[];
}

interface OpenDay extends Day {
  readonly groups: OpenGroup[];
}

export function isMine(message: ChatEntry, me: string): boolean {
  return message.role === 'USER' && message.userId === me;
}

/**
 * @param messages - In the order of the conversation. That order stands even where clocks disagree.
 * @param me - The reader's user id.
 */
export function arrange(messages: readonly ChatEntry[], me: string): Day[] {
  const days: OpenDay[] = [];
  const seen = new Map<number, number>();
  let previous: ChatEntry | undefined;
  for (const message of messages) {
    const start = dayOf(message.time);
    let day = days.at(-1);
    if (day === undefined || dayOf(day.date) !== start) {
      // By the day itself, not by its first message: that one changes as history comes or goes above it, and the whole
      // day would be built anew. The number tells days apart that come twice, since clocks may disagree.
      const again = seen.get(start) ?? 0;
      seen.set(start, again + 1);
      day = { key: `${start}:${again}`, date: message.time, groups: [] };
      days.push(day);
      previous = undefined;
    }
    const group = day.groups.at(-1);
    if (group !== undefined && previous !== undefined && belongsTogether(previous, message)) {
      group.messages.push(message);
    } else {
      day.groups.push({
        key: message.key,
        role: message.role,
        userId: message.userId,
        mine: isMine(message, me),
        messages: [message],
      });
    }
    previous = message;
  }
  return days;
}

function belongsTogether(before: ChatEntry, after: ChatEntry): boolean {
  return (
    before.role === after.role &&
    before.userId === after.userId &&
    after.time.getTime() - before.time.getTime() < PAUSE_MS &&
    (before.seq === null || after.seq === null || runOf(before.seq) === runOf(after.seq))
  );
}

function runOf(seq: number): number {
  return Math.floor(seq / RUN_SEQS);
}

/** Whether two groups show the same, so that a view may stay as it is. */
export function sameGroup(a: Group, b: Group): boolean {
  return (
    a.key === b.key &&
    a.mine === b.mine &&
    a.messages.length === b.messages.length &&
    a.messages.every((message, index) => message === b.messages[index])
  );
}

/** The messages after the one with `key`; none if it is not there (any more), all if `key` is null. */
export function after(messages: readonly ChatEntry[], key: string | null): readonly ChatEntry[] {
  if (key === null) return messages;
  const index = messages.findLastIndex((message) => message.key === key);
  return index === -1 ? [] : messages.slice(index + 1);
}
