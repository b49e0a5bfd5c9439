/**
 * Pure reducer for the entries of one chat: confirmed messages, then own messages whose event has not arrived yet.
 *
 * An unchanged entry remains the same object, so that a view can memoize it.
 */
import type { RoomcastError } from './errors.ts';
import type { Message, MessagePage } from './generated/contract.ts';
import { type ChatEntry, reviveMessage } from './types.ts';

/** Maximum number of confirmed entries. Older pages that the user loads raise it. */
const MAX_LIVE_MESSAGES = 2_000;

export interface ChatLog {
  readonly loaded: boolean;
  /** Ascending by seq. */
  readonly confirmed: readonly ChatEntry[];
  /** In send order. */
  readonly outgoing: readonly ChatEntry[];
  readonly hasOlder: boolean;
  readonly loadingOlder: boolean;
  readonly olderError: RoomcastError | null;
  readonly limit: number;
}

export type ChatLogAction =
  | { readonly type: 'replaced'; readonly page: MessagePage; readonly reset: boolean }
  /** `upTo` is the seq of the last delivered event of any type. */
  | { readonly type: 'delivered'; readonly messages: readonly Message[]; readonly upTo: number }
  | { readonly type: 'older-requested' }
  | { readonly type: 'older-loaded'; readonly before: number; readonly page: MessagePage }
  | { readonly type: 'older-failed'; readonly error: RoomcastError }
  | { readonly type: 'queued'; readonly entry: ChatEntry }
  | { readonly type: 'sent'; readonly message: Message; readonly upTo: number }
  | { readonly type: 'send-failed'; readonly key: string; readonly error: RoomcastError }
  | { readonly type: 'resent'; readonly key: string }
  | { readonly type: 'discarded'; readonly key: string };

export const EMPTY_LOG: ChatLog = {
  loaded: false,
  confirmed: [],
  outgoing: [],
  hasOlder: false,
  loadingOlder: false,
  olderError: null,
  limit: MAX_LIVE_MESSAGES,
};

export function reduce(log: ChatLog, action: ChatLogAction): ChatLog {
  switch (action.type) {
    case 'replaced':
      return replace(log, action.page, action.reset);
    case 'delivered':
      return dropSettled(log.loaded ? append(log, action.messages) : log, action.messages, action.upTo);
    case 'older-requested':
      return { ...log, loadingOlder: true, olderError: null };
    case 'older-loaded':
      return prepend({ ...log, loadingOlder: false }, action.before, action.page);
    case 'older-failed':
      return { ...log, loadingOlder: false, olderError: action.error };
    case 'queued':
      return { ...log, outgoing: [...log.outgoing, action.entry] };
    case 'sent':
      return confirm(log, action.message, action.upTo);
    case 'send-failed':
      return edit(log, action.key, { status: 'failed', error: action.error });
    case 'resent':
      return edit(log, action.key, { status: 'sending', error: null });
    case 'discarded':
      return { ...log, outgoing: log.outgoing.filter((entry) => entry.key !== action.key) };
  }
}

function toEntry(message: Message): ChatEntry {
  return { ...reviveMessage(message), key: entryKey(message), status: 'sent', error: null };
}

/** Key of an own message; it does not change when the message is stored. */
export function outgoingKey(clientMsgId: string): string {
  return `c:${clientMsgId}`;
}

/** Key of a stored message; equal to its `outgoingKey` if it has a `clientMsgId`. */
export function entryKey({ clientMsgId, id }: Pick<Message, 'clientMsgId' | 'id'>): string {
  return clientMsgId === null ? `m:${id}` : outgoingKey(clientMsgId);
}

function replace(log: ChatLog, page: MessagePage, reset: boolean): ChatLog {
  const known = new Map(log.confirmed.map((entry) => [entry.id, entry]));
  const confirmed = page.messages.map((message) => known.get(message.id) ?? toEntry(message));
  const keys = new Set(confirmed.map((entry) => entry.key));
  const outgoing = log.outgoing.filter((entry) => {
    if (keys.has(entry.key)) return false;
    if (entry.seq === null) return true;
    // The server accepted the message, but the page does not contain it. The entry is dropped if the history was reset,
    // the page covers its seq, or it was stored in another epoch: the message is lost, or will arrive as an event.
    return !reset && entry.seq > page.seq && entry.epoch === page.epoch;
  });
  return {
    ...log,
    loaded: true,
    confirmed,
    outgoing,
    hasOlder: page.hasMore,
    loadingOlder: false,
    olderError: null,
    limit: MAX_LIVE_MESSAGES,
  };
}

function append(log: ChatLog, messages: readonly Message[]): ChatLog {
  const last = log.confirmed.at(-1)?.seq ?? 0;
  const fresh = messages.filter((message) => message.seq > last).map(toEntry);
  if (fresh.length === 0) return log;
  const all = [...log.confirmed, ...fresh];
  const excess = Math.max(0, all.length - log.limit);
  return {
    ...log,
    confirmed: all.slice(excess),
    hasOlder: log.hasOlder || excess > 0,
  };
}

/** Removes outgoing entries that arrived as events, and accepted entries whose seq belongs to another event. */
function dropSettled(log: ChatLog, messages: readonly Message[], upTo: number): ChatLog {
  const keys = new Set(messages.map(entryKey));
  const outgoing = log.outgoing.filter((entry) => !keys.has(entry.key) && (entry.seq === null || entry.seq > upTo));
  return outgoing.length === log.outgoing.length ? log : { ...log, outgoing };
}

function prepend(log: ChatLog, before: number, page: MessagePage): ChatLog {
  // The entries were replaced during the request: ignore the page.
  if (log.confirmed[0]?.seq !== before) return log;
  const older = page.messages.filter((message) => message.seq < before).map(toEntry);
  const confirmed = [...older, ...log.confirmed];
  return { ...log, confirmed, hasOlder: page.hasMore, limit: Math.max(log.limit, confirmed.length) };
}

function confirm(log: ChatLog, message: Message, upTo: number): ChatLog {
  const entry = toEntry(message);
  // The message is already among the confirmed entries, or older than the loaded page.
  if (message.seq <= upTo) return { ...log, outgoing: log.outgoing.filter((other) => other.key !== entry.key) };
  return edit(log, entry.key, entry);
}

function edit(log: ChatLog, key: string, change: Partial<ChatEntry>): ChatLog {
  return { ...log, outgoing: log.outgoing.map((entry) => (entry.key === key ? { ...entry, ...change } : entry)) };
}
