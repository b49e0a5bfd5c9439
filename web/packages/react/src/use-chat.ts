/** One chat: what it shows, and what can be done to it. */
import type { ChatEntry, ChatSession, ChatSnapshot, PresenceSnapshot } from '@roomcast/client';
import { useMemo, useSyncExternalStore } from 'react';
import { useRoomcastClient } from './provider.ts';
import { usePresence, useTyping } from './use-people.ts';

export interface UseChatOptions {
  /** Show nothing and ask for nothing, for now. */
  skip?: boolean;
}

export interface UseChatResult extends Omit<ChatSnapshot, 'chatId'> {
  /** Others who write at the moment, the longest first. */
  typingUsers: readonly string[];
  /** Who is there, oneself included; `stale` while that is only as last known. */
  presence: PresenceSnapshot;
  /** Sends a message, which shows at once. Never rejects: see the entry's `status`. */
  sendMessage: (content: string) => Promise<ChatEntry>;
  /** Sends a failed entry again. */
  retry: (key: string) => void;
  /** Forgets a failed entry. */
  discard: (key: string) => void;
  /** Loads the page before the first message. Never rejects: see `error`. */
  loadOlder: () => Promise<void>;
  /** Tells the others that one writes: true with each keystroke, false when the field is empty. Never fails. */
  setTyping: (typing: boolean) => void;
}

const NOTHING: ChatSnapshot = {
  chatId: '',
  messages: [],
  status: 'idle',
  error: null,
  synced: false,
  hasOlder: false,
  loadingOlder: false,
};
const subscribeToNothing = (): (() => void) => () => undefined;
const getNothing = (): ChatSnapshot => NOTHING;

/**
 * Shows a chat while mounted: loads it, joins it, keeps it up to date, leaves it.
 *
 * @param chatId null: none yet
 */
export function useChat(chatId: string | null | undefined, { skip = false }: UseChatOptions = {}): UseChatResult {
  const client = useRoomcastClient();
  const session = useMemo(() => (chatId && !skip ? client.chat(chatId) : null), [client, chatId, skip]);
  const { messages, status, error, synced, hasOlder, loadingOlder } = useSyncExternalStore(
    session?.subscribe ?? subscribeToNothing,
    session?.getSnapshot ?? getNothing,
    getNothing,
  );
  const shown = session?.chatId;
  const typingUsers = useTyping(shown);
  const presence = usePresence(shown);
  const actions = useMemo(() => actionsOf(session), [session]);
  return { messages, status, error, synced, hasOlder, loadingOlder, typingUsers, presence, ...actions };
}

function actionsOf(
  session: ChatSession | null,
): Pick<UseChatResult, 'sendMessage' | 'retry' | 'discard' | 'loadOlder' | 'setTyping'> {
  return {
    sendMessage: (content) => {
      if (session === null) throw new Error('useChat has no chat: it was given none, or told to skip');
      return session.send(content);
    },
    retry: (key) => {
      session?.retry(key).catch(() => undefined); // Retried already, by a second click.
    },
    discard: (key) => session?.discard(key),
    loadOlder: () => session?.loadOlder() ?? Promise.resolve(),
    setTyping: (typing) => session?.setTyping(typing),
  };
}
