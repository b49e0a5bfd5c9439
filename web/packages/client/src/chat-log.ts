/**
 * What a chat shows: the messages that the server has, then the own ones on their way. One pure reducer.
 *
 * Entries keep their identity until they change, so that a view may memoise each line.
 */
import type { RoomcastError } from './errors.ts';
import type { Message, MessagePage } from './generated/contract.ts';
import { type ChatEntry, reviveMessage } from './types.ts';

/** Lines that stay in memory while a chat grows; who scrolled further back keeps what was loaded. */
const MAX_LIVE_MESSAGES = 2_000;

export interface ChatLog {
  readonly loaded: boolean;
  /** Ascending by seq. */
  readonly confirmed: readonly ChatEntry[];
  /** In the order of sending. */
  readonly outgoing: readonly ChatEntry[];
  readonly hasOlder: boolean;
  readonly loadingOlder: boolean;
  readonly olderError: RoomcastError | null;
  readonly limit: number;
}

export type ChatLogAction =
  | { readonly type: 'replaced'; readonly page: MessagePage; readonly reset: boolean }
  /** `upTo`: seq of the last event of any kind. */
  | { readonly type: 'delivered'; readonly messages: readonly Message[]; readonly upTo: number }
  | { readonly type: 'older-requested' }
  | { readonly type: 'older-loaded'; readonly before: number; readonly page: MessagePage }
  | { readonly type: 'older-failed'; readonly error: RoomcastError }
  | { readonly type: 'queued'; readonly entry: ChatEntry }
  | { readonly type: 'sent'; readonly message: Message; readonly upTo: number }
  | { readonly type: 'send-failed'; readonly key: string; readonly error: RoomcastError }
  | { readonly type: 'resent'; readonly key: string }
  | { readonly type: 'discarded'; readonly key: string }
  | { readonly type: 'cleared' };

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
      return withoutSettled(log.loaded ? append(log, action.messages) : log, action.messages, action.upTo);
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
    case 'cleared':
      return EMPTY_LOG;
  }
}

function toEntry(message: Message): ChatEntry {
  const { clientMsgId, id } = message;
  return { ...reviveMessage(message), key: keyOf(clientMsgId, id), status: 'sent', error: null };
}

/** The same for an optimistic entry and for the message that it becomes. */
export function keyOf(clientMsgId: string | null, id: string): string {
  return clientMsgId === null ? `m:${id}` : `c:${clientMsgId}`;
}

function replace(log: ChatLog, page: MessagePage, reset: boolean): ChatLog {
  const known = new Map(log.confirmed.map((entry) => [entry.id, entry]));
  const confirmed = page.messages.map((message) => known.get(message.id) ?? toEntry(message));
  const keys = new Set(confirmed.map((entry) => entry.key));
  const outgoing = log.outgoing.filter((entry) => {
    if (keys.has(entry.key)) return false;
    if (entry.seq === null) return true;
    // Accepted once, but the history that it was accepted into is gone, or is already shown up to there. What another
    // epoch accepted beyond the end of this one is gone with it, or comes as an event.
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

/** Without what came as an event, and without what was accepted into a history that went another way from there. */
function withoutSettled(log: ChatLog, messages: readonly Message[], upTo: number): ChatLog {
  const keys = new Set(messages.map((message) => keyOf(message.clientMsgId, message.id)));
  const outgoing = log.outgoing.filter((entry) => !keys.has(entry.key) && (entry.seq === null || entry.seq > upTo));
  return outgoing.length === log.outgoing.length ? log : { ...log, outgoing };
}

function prepend(log: ChatLog, before: number, page: MessagePage): ChatLog {
  // The list was replaced while the page was on its way.
  if (log.confirmed[0]?.seq !== before) return log;
  const older = page.messages.filter((message) => message.seq < before).map(toEntry);
  const confirmed = [...older, ...log.confirmed];
  return { ...log, confirmed, hasOlder: page.hasMore, limit: Math.max(log.limit, confirmed.length) };
}

function confirm(log: ChatLog, message: Message, upTo: number): ChatLog {
  const entry = toEntry(message);
  // Shown among the confirmed ones already, or part of what lies before the loaded page.
  if (message.seq <= upTo) return { ...log, outgoing: log.outgoing.filter((other) => other.key !== entry.key) };
  return edit(log, entry.key, entry);
}

function edit(log: ChatLog, key: string, change: Partial<ChatEntry>): ChatLog {
  return { ...log, outgoing: log.outgoing.map((entry) => (entry.key === key ? { ...entry, ...change } : entry)) };
}
