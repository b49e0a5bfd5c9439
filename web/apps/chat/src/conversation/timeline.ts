/** Groups messages for display, by day and author. Pure; views compare groups to skip renders. */
import type { ChatEntry } from '@roomcast/react';

import { dayOf } from '../i18n/formats.ts';

/** Consecutive messages of one author without a long pause. */
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

// A longer pause starts a new group, with author and time.
const PAUSE_MS = 5 * 60_000;

/**
 * A group also ends at each multiple of this seq, independent of page boundaries. Otherwise history loaded above a long
 * run of one author would rerender the whole run and lose the scroll position.
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
 * @param messages - In order of the conversation, which is kept even if their times are not ascending.
 * @param me - The reader's user id.
 */
export function groupByDay(messages: readonly ChatEntry[], me: string): Day[] {
  const days: OpenDay[] = [];
  const seen = new Map<number, number>();
  let previous: ChatEntry | undefined;
  for (const message of messages) {
    const start = dayOf(message.time);
    let day = days.at(-1);
    if (day === undefined || dayOf(day.date) !== start) {
      // The key does not depend on the first message, which changes when history is loaded and would remount the day.
      // The number distinguishes repeated days: times may not be ascending.
      const repetition = seen.get(start) ?? 0;
      seen.set(start, repetition + 1);
      day = { key: `${start}:${repetition}`, date: message.time, groups: [] };
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

/** True if two groups render the same. */
export function sameGroup(a: Group, b: Group): boolean {
  return (
    a.key === b.key &&
    a.mine === b.mine &&
    a.messages.length === b.messages.length &&
    a.messages.every((message, index) => message === b.messages[index])
  );
}

/** The messages after the one with `key`; none if it is missing, all if `key` is null. */
export function messagesAfter(messages: readonly ChatEntry[], key: string | null): readonly ChatEntry[] {
  if (key === null) return messages;
  const index = messages.findLastIndex((message) => message.key === key);
  return index === -1 ? [] : messages.slice(index + 1);
}
