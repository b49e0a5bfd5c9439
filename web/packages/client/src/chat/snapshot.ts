/** What applications see of a chat. */
import { type ChatLog, shownEntries } from './chat-log.ts';
import type { RoomcastError } from '../errors.ts';
import { type FeedState, isSynced } from '../feed/feed-machine.ts';
import type { Turn } from '../generated/contract.ts';
import type { ChatEntry, LoadStatus } from '../types.ts';

/** Immutable state of a chat. */
export interface ChatSnapshot {
  readonly chatId: string;
  /**
   * Ascending by place, the same order for all users; own messages that are not stored yet come last. Live messages,
   * which are not stored, are between those that were there before and after them.
   */
  readonly messages: readonly ChatEntry[];
  /** The turn that is streaming or, if there is none, that will start next; null if no answer is expected. */
  readonly activeTurn: Turn | null;
  readonly status: LoadStatus;
  /** The last failure, kept while the request is retried; null after a success. */
  readonly error: RoomcastError | null;
  /** True if the chat is joined and no event is known to be missing. */
  readonly synced: boolean;
  /** True if `loadOlder` can load another page. */
  readonly hasOlder: boolean;
  readonly loadingOlder: boolean;
  /** When own messages are sent again, because a rate limit of the server delays them; null: nothing delays them. */
  readonly sendsAgainAt: Date | null;
}

/** The snapshot of a chat before its first subscription, without `chatId`. */
export const INITIAL_CHAT: Omit<ChatSnapshot, 'chatId'> = {
  messages: [],
  activeTurn: null,
  status: 'idle',
  error: null,
  synced: false,
  hasOlder: false,
  loadingOlder: false,
  sendsAgainAt: null,
};

/** The part of the snapshot that follows from the log and the feed. */
export function changeOf(before: readonly ChatEntry[], log: ChatLog, feed: FeedState): Partial<ChatSnapshot> {
  const { activity, error, active } = feed;
  const { loaded, turns, hasOlder, loadingOlder, olderError } = log;
  const messages = shownEntries(log);
  return {
    activeTurn: turns.find(({ status }) => status === 'streaming') ?? turns[0] ?? null,
    messages: sameEntries(before, messages) ? before : messages,
    status: activity.kind === 'denied' ? 'error' : loaded ? 'ready' : active ? 'loading' : 'idle',
    error: error ?? olderError,
    synced: isSynced(feed),
    hasOlder,
    loadingOlder,
  };
}

function sameEntries(before: readonly ChatEntry[], after: readonly ChatEntry[]): boolean {
  return before.length === after.length && before.every((entry, index) => entry === after[index]);
}
