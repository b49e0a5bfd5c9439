/** Creates chat entries for tests. */
import type { ChatEntry } from '@roomcast/react';

export function entry(change: Partial<ChatEntry> & { key: string }): ChatEntry {
  return {
    id: change.key,
    role: 'USER',
    content: `text of ${change.key}`,
    time: new Date(2026, 10, 23, 12, 0, 0),
    chatId: 'lobby',
    seq: null,
    userId: 'ann',
    clientMsgId: null,
    place: change.seq ?? null,
    version: 1,
    turn: null,
    parts: null,
    replyTo: null,
    deleted: false,
    reactions: [],
    pinned: false,
    attachments: [],
    status: 'sent',
    error: null,
    ...change,
  };
}
