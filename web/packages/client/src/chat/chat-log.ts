/**
 * Pure reducer for the entries of one chat: confirmed messages, then own messages whose event has not arrived yet.
 *
 * Each place has one entry: the newest version of its message. Live messages, which are not stored, are shown behind the
 * message that was the last one at their arrival; a stored message with the same id replaces one.
 *
 * An unchanged entry remains the same object, so that a view can memoize it.
 */
import type { RoomcastError } from '../errors.ts';
import type { SequencedEvent } from '../feed/feed-machine.ts';
import type {
  AiStatus,
  Message,
  MessagePage,
  Reaction,
  ReactionChange,
  StoredEvents,
  Turn,
} from '../generated/contract.ts';
import { type ChatEntry, NO_MARKS, reviveMessage } from '../types.ts';

/** Maximum number of confirmed entries. Older pages that the user loads raise it. */
const MAX_LIVE_MESSAGES = 2_000;
/** Maximum number of messages that are not stored. */
const MAX_PUBLISHED = 100;

/** A message that is not stored. */
interface Published {
  readonly entry: ChatEntry;
  /** Place of the message before it. */
  readonly after: number;
}

export interface ChatLog {
  readonly loaded: boolean;
  /** Ascending by place. */
  readonly confirmed: readonly ChatEntry[];
  /** In send order. */
  readonly outgoing: readonly ChatEntry[];
  /** In the order of arrival. */
  readonly published: readonly Published[];
  /** The turns that are queued or streaming, in the order in which they became known. */
  readonly turns: readonly Turn[];
  readonly hasOlder: boolean;
  readonly loadingOlder: boolean;
  readonly olderError: RoomcastError | null;
  readonly limit: number;
}

export type ChatLogAction =
  | { readonly type: 'replaced'; readonly page: MessagePage; readonly reset: boolean }
  | { readonly type: 'delivered'; readonly events: readonly SequencedEvent[] }
  /** Another program published a message that is not stored. */
  | { readonly type: 'published'; readonly entry: ChatEntry }
  /** The answer of a turn has more chunks. */
  | { readonly type: 'grown'; readonly turnId: string; readonly change: Pick<ChatEntry, 'content' | 'parts'> }
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
  published: [],
  turns: [],
  hasOlder: false,
  loadingOlder: false,
  olderError: null,
  limit: MAX_LIVE_MESSAGES,
};

export function reduce(log: ChatLog, action: ChatLogAction): ChatLog {
  return withoutStored(apply(log, action));
}

/** The entries in the order of the conversation. */
export function shownEntries({ confirmed, outgoing, published, hasOlder }: ChatLog): readonly ChatEntry[] {
  if (published.length === 0) return [...confirmed, ...outgoing];
  const first = hasOlder ? (confirmed[0]?.place ?? 0) : 0;
  const left = published.filter(({ after }) => after >= first);
  const merged: ChatEntry[] = [];
  for (const entry of confirmed) {
    while (left[0] && left[0].after < (entry.place ?? 0)) merged.push(...left.splice(0, 1).map((item) => item.entry));
    merged.push(entry);
  }
  return [...merged, ...left.map(({ entry }) => entry), ...outgoing];
}

function apply(log: ChatLog, action: ChatLogAction): ChatLog {
  switch (action.type) {
    case 'replaced':
      return replace(log, action.page, action.reset);
    case 'delivered':
      return dropSettled(log.loaded ? deliver(log, action.events) : log, action.events);
    case 'grown': {
      const index = log.confirmed.findLastIndex(({ id }) => id === action.turnId);
      const entry = log.confirmed[index];
      return entry ? { ...log, confirmed: log.confirmed.with(index, { ...entry, ...action.change }) } : log;
    }
    case 'published':
      return publish(log, action.entry);
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

export function toEntry(message: Message): ChatEntry & { place: number } {
  return { ...NO_MARKS, ...reviveMessage(message), key: entryKey(message), status: 'sent', error: null };
}

/** Key of an own message; it does not change when the message is stored. */
export function outgoingKey(clientMsgId: string): string {
  return `c:${clientMsgId}`;
}

/** Key of a stored message; equal to its `outgoingKey` if it has a `clientMsgId`. */
export function entryKey({ clientMsgId, id }: Pick<Message, 'clientMsgId' | 'id'>): string {
  return clientMsgId === null ? `m:${id}` : outgoingKey(clientMsgId);
}

export function isOver({ status }: Turn): boolean {
  return status !== 'queued' && status !== 'streaming';
}

/** The messages of events: `new-msg`. */
export function messagesIn(events: readonly SequencedEvent[]): Message[] {
  return events.filter(({ event }) => event === 'new-msg').map(({ data }) => data as unknown as Message);
}

function publish(log: ChatLog, entry: ChatEntry): ChatLog {
  const { published } = log;
  const index = published.findIndex((item) => item.entry.id === entry.id);
  const known = published[index];
  if (known) return { ...log, published: published.with(index, { ...known, entry }) };
  const after = log.confirmed.at(-1)?.place ?? 0;
  return { ...log, published: [...published, { entry, after }].slice(-MAX_PUBLISHED) };
}

/** Removes published messages that are stored now. */
function withoutStored(log: ChatLog): ChatLog {
  if (log.published.length === 0) return log;
  const ids = new Set([...log.confirmed, ...log.outgoing].map(({ id }) => id));
  const published = log.published.filter(({ entry }) => !ids.has(entry.id));
  return published.length === log.published.length ? log : { ...log, published };
}

function replace(log: ChatLog, page: MessagePage, reset: boolean): ChatLog {
  const known = new Map(log.confirmed.map((entry) => [entry.id, entry]));
  const confirmed = page.messages.map((message) => {
    const entry = known.get(message.id);
    const fresh = toEntry(message);
    const { reactions, pinned, deleted } = fresh;
    const same = entry?.seq === message.seq && entry.turn?.id === message.turn?.id && entry.deleted === deleted;
    // The known entry of a growing answer has at least the text of the page.
    if (same && entry.turn?.status === message.turn?.status)
      return sameMarks(entry, fresh) ? entry : { ...entry, reactions, pinned };
    return { ...fresh, key: entry?.key ?? entryKey(message) };
  });
  const keys = new Set(confirmed.map((entry) => entry.key));
  const outgoing = log.outgoing.filter((entry) => {
    if (keys.has(entry.key)) return false;
    if (entry.seq === null) return true;
    // The server accepted the message, but the page does not contain it. The entry is dropped if the history was reset,
    // the page covers its seq, or it was stored in another epoch: the message is lost, or will arrive as an event.
    return !reset && entry.seq > page.seq && entry.epoch === page.epoch;
  });
  const last = confirmed.at(-1)?.place ?? 0;
  return {
    ...log,
    loaded: true,
    confirmed,
    outgoing,
    // Those that arrived before the first page.
    published: log.loaded ? log.published : log.published.map((item) => ({ ...item, after: last })),
    turns: page.messages.reduce<readonly Turn[]>((turns, { turn }) => withTurn(turns, turn), []),
    hasOlder: page.hasMore,
    loadingOlder: false,
    olderError: null,
    limit: MAX_LIVE_MESSAGES,
  };
}

/** The entries of a log while events are applied to it. */
interface Draft {
  readonly confirmed: ChatEntry[];
  readonly hasOlder: boolean;
  turns: readonly Turn[];
}

const ERASED = { content: '', parts: null, deleted: true, reactions: [], pinned: false, attachments: [] };

/** What each stored event changes. A type that is missing here is an error of the compiler. */
const APPLY: { readonly [Name in keyof StoredEvents]: (draft: Draft, data: StoredEvents[Name]) => void } = {
  'new-msg': (draft, message) => {
    put(draft.confirmed, toEntry(message), draft.hasOlder);
    applyTurn(draft, message.turn);
  },
  'ai-status': (draft, status) => {
    const message = startedAnswer(status);
    if (message) put(draft.confirmed, toEntry(message), draft.hasOlder);
    applyTurn(draft, status.turn);
    // An answer that ends with this event has no text: what was shown of it is removed.
    const index = isOver(status.turn) ? draft.confirmed.findIndex(({ id }) => id === status.turn.id) : -1;
    const entry = draft.confirmed[index];
    if (entry) draft.confirmed[index] = { ...entry, content: '', parts: [] };
  },
  'ai-tool': () => undefined,
  'msg-deleted': (draft, { place }) => {
    change(draft, place, () => ERASED);
  },
  'msgs-erased': (draft, { places }) => {
    for (const place of places) change(draft, place, () => ERASED);
  },
  'msgs-expired': (draft, { through }) => {
    const kept = draft.confirmed.findIndex(({ place }) => place !== null && place > through);
    draft.confirmed.splice(0, kept < 0 ? draft.confirmed.length : kept);
  },
  reaction: (draft, { place, ...reaction }) => {
    change(draft, place, ({ reactions }) => ({ reactions: withReaction(reactions, reaction) }));
  },
  pin: (draft, { place, pinned }) => change(draft, place, () => ({ pinned })),
  custom: () => undefined,
  // Applied by `Members`.
  'member-added': () => undefined,
  'member-removed': () => undefined,
  'member-updated': () => undefined,
  'chat-changed': () => undefined,
  'chat-deleted': () => undefined,
};

function sameMarks(one: ChatEntry, other: ChatEntry): boolean {
  return one.pinned === other.pinned && JSON.stringify(one.reactions) === JSON.stringify(other.reactions);
}

/** Applies events in order. Events of newer servers are ignored. */
function deliver(log: ChatLog, events: readonly SequencedEvent[]): ChatLog {
  const { hasOlder, turns: known } = log;
  const draft: Draft = { confirmed: [...log.confirmed], hasOlder, turns: known };
  for (const { event, data } of events) {
    if (Object.hasOwn(APPLY, event)) APPLY[event as keyof StoredEvents](draft, data as never);
  }
  const { confirmed, turns } = draft;
  const excess = Math.max(0, confirmed.length - log.limit);
  const changed = { turns, hasOlder: hasOlder || excess > 0 };
  return { ...log, confirmed: confirmed.slice(excess), ...changed };
}

/** Changes the entry at a place, if it is loaded. */
function change({ confirmed }: Draft, place: number, changed: (entry: ChatEntry) => Partial<ChatEntry>): void {
  const index = confirmed.findLastIndex((entry) => entry.place === place);
  const entry = confirmed[index];
  if (entry) confirmed[index] = { ...entry, ...changed(entry) };
}

function withReaction(
  reactions: readonly Reaction[],
  { emoji, userId, added }: Pick<ReactionChange, 'emoji' | 'userId' | 'added'>,
): readonly Reaction[] {
  const known = reactions.find((reaction) => reaction.emoji === emoji);
  const userIds = (known?.userIds ?? []).filter((id) => id !== userId);
  if (added) userIds.push(userId);
  if (!known) return added ? [...reactions, { emoji, userIds }] : reactions;
  return userIds.length === 0
    ? reactions.filter((reaction) => reaction !== known)
    : reactions.map((reaction) => (reaction === known ? { emoji, userIds } : reaction));
}

function applyTurn(draft: Draft, turn: Turn | null): void {
  if (turn) setTurn(draft.confirmed, turn);
  draft.turns = withTurn(draft.turns, turn);
}

/** The empty answer of a turn that has started; null if the status is another one. */
function startedAnswer({ place, turn, ...status }: AiStatus): Message | null {
  if (turn.status !== 'streaming' || place === null) return null;
  const { id } = turn;
  return {
    ...status,
    id,
    place,
    turn,
    role: 'AI',
    content: '',
    parts: [],
    userId: null,
    clientMsgId: null,
    status: 'sent',
  };
}

/** Puts an entry at its place, unless the place has a newer version, or is before the loaded messages. */
function put(entries: ChatEntry[], entry: ChatEntry & { place: number }, hasOlder: boolean): void {
  const index = entries.findLastIndex(({ place }) => place !== null && place <= entry.place);
  const before = entries[index];
  if (before?.place === entry.place) {
    // A new state of a message keeps the marks of its place, which events of messages do not contain.
    const { key, reactions, pinned } = before;
    if (before.version <= entry.version) entries[index] = { ...entry, key, reactions, pinned };
  } else if (before || !hasOlder) {
    entries.splice(index + 1, 0, entry);
  }
}

/** Sets the turn of its question and of its answer. The question keeps a newer turn. */
function setTurn(entries: ChatEntry[], turn: Turn): void {
  for (const [index, entry] of entries.entries()) {
    const isQuestion = entry.id === turn.messageId && (!isOver(turn) || entry.turn?.id === turn.id);
    if (entry.id === turn.id || isQuestion) entries[index] = { ...entry, turn };
  }
}

function withTurn(turns: readonly Turn[], turn: Turn | null): readonly Turn[] {
  if (turn === null) return turns;
  const others = turns.filter(({ id }) => id !== turn.id);
  if (isOver(turn)) return others.length === turns.length ? turns : others;
  return others.length === turns.length
    ? [...turns, turn]
    : turns.map((other) => (other.id === turn.id ? turn : other));
}

/** Removes outgoing entries that arrived as events, and accepted entries whose seq belongs to another event. */
function dropSettled(log: ChatLog, events: readonly SequencedEvent[]): ChatLog {
  const keys = new Set(messagesIn(events).map(entryKey));
  const upTo = events.at(-1)?.seq ?? 0;
  const outgoing = log.outgoing.filter((entry) => !keys.has(entry.key) && (entry.seq === null || entry.seq > upTo));
  return outgoing.length === log.outgoing.length ? log : { ...log, outgoing };
}

function prepend(log: ChatLog, before: number, page: MessagePage): ChatLog {
  // The entries were replaced during the request: ignore the page.
  if (log.confirmed[0]?.place !== before) return log;
  const older = page.messages.filter((message) => message.place < before).map(toEntry);
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
