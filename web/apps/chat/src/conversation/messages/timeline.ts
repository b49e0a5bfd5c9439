/** Groups messages by day and author for display. Views compare groups to skip renders. */
import type { ChatEntry } from '@roomcast/react';

import { dayOf } from '../../i18n/formats.ts';

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
 * A new group also starts at each place that is a multiple of this number, independent of page boundaries. Otherwise an
 * older page above many messages of one author would render their group again and lose the scroll position.
 */
const RUN_PLACES = 20;

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
 * @param messages - In the order of the conversation, which is kept even if the times are not ascending.
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
      // The key does not contain the first message, because an older page changes it, which would remount the day.
      // `repetition` distinguishes two sections of the same day, because times may not be ascending.
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
    (before.place === null || after.place === null || runOf(before.place) === runOf(after.place))
  );
}

function runOf(place: number): number {
  return Math.floor(place / RUN_PLACES);
}

/** True if both groups render the same output. */
export function sameGroup(a: Group, b: Group): boolean {
  return (
    a.key === b.key &&
    a.mine === b.mine &&
    a.messages.length === b.messages.length &&
    a.messages.every((message, index) => message === b.messages[index])
  );
}

/** The messages after the message with `key`. Empty if no message has the key; all messages if `key` is null. */
export function messagesAfter(messages: readonly ChatEntry[], key: string | null): readonly ChatEntry[] {
  if (key === null) return messages;
  const index = messages.findLastIndex((message) => message.key === key);
  return index === -1 ? [] : messages.slice(index + 1);
}
