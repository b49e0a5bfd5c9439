/** One chat: its state and its actions. */
import {
  type Attachment,
  type ChatEntry,
  type ChatSession,
  type ChatSnapshot,
  INITIAL_CHAT,
  type PresenceSnapshot,
  type UploadOptions,
} from '@roomcast/client';
import { useMemo, useSyncExternalStore } from 'react';
import { subscribeToNothing, useChatSession } from './use-chat-session.ts';
import { usePresence, useTyping } from './use-participants.ts';

export interface UseChatOptions {
  /** While true, the hook returns the initial state and sends no requests. */
  skip?: boolean;
}

/** State and actions of `useChat`; the actions are stable while the chat is the same. */
export interface UseChatResult extends Omit<ChatSnapshot, 'chatId'> {
  /** Ids of other users who are typing, in the order in which they started. */
  typingUsers: readonly string[];
  /** Online users, including the current user; `stale` is true while the list may be outdated. */
  presence: PresenceSnapshot;
  /** Sends a message and adds its entry to `messages` immediately. Never rejects: the entry's `status` is the outcome. */
  sendMessage: (content: string, replyTo?: string | null, attachments?: readonly Attachment[]) => Promise<ChatEntry>;
  /** Uploads a file, for `sendMessage`. Rejects with a `RoomcastError`, as do the next two. */
  uploadFile: (file: Blob, options?: UploadOptions) => Promise<Attachment>;
  /** Removes a file that was uploaded and not sent. */
  removeFile: (fileId: string) => Promise<void>;
  /** The link of a file, valid for at least a minute; null if the file does not exist any more. */
  fileUrl: (fileId: string) => Promise<string | null>;
  /** Sends a failed entry again. */
  retry: (key: string) => void;
  /** Removes a failed entry. */
  discard: (key: string) => void;
  /** Stops an answer; default: the active turn. Its text so far is kept. Rejects with a `RoomcastError`. */
  stop: (turnId?: string) => Promise<void>;
  /** Answers the question of a turn again, as a new version. Rejects with a `RoomcastError`. */
  regenerate: (turnId: string) => Promise<unknown>;
  /** Replaces an own message by a new version, which gets a new answer, and removes files. Rejects with a `RoomcastError`. */
  edit: (messageId: string, content: string, removeFiles?: readonly string[]) => Promise<unknown>;
  /** Deletes an own message in all its versions. Rejects with a `RoomcastError`, as do the next four. */
  deleteMessage: (messageId: string) => Promise<void>;
  /** Adds a reaction of the user or, if `adds` is false, takes it back. */
  react: (messageId: string, emoji: string, adds?: boolean) => Promise<void>;
  /** Pins a message or, if `adds` is false, ends that. */
  pin: (messageId: string, adds?: boolean) => Promise<void>;
  /** The pinned messages, in the order of the chat. */
  pins: () => Promise<readonly ChatEntry[]>;
  /** The newest replies to a message, in the order of the chat. */
  replies: (messageId: string) => Promise<readonly ChatEntry[]>;
  /** All versions of a message, oldest first. Rejects with a `RoomcastError`. */
  versions: (messageId: string) => Promise<readonly ChatEntry[]>;
  /** Loads the page of messages before the oldest loaded one. Never rejects: a failure is reported in `error`. */
  loadOlder: () => Promise<void>;
  /** Loads older pages until the message at a place is loaded; false: it is too far back, or a page failed. */
  loadTo: (place: number) => Promise<boolean>;
  /** Sends typing notifications. Call with true on each keystroke, with false when the field is empty. Never throws. */
  setTyping: (typing: boolean) => void;
}

const getInitialChat = (): Omit<ChatSnapshot, 'chatId'> => INITIAL_CHAT;

/**
 * Loads and joins a chat while mounted, and keeps it up to date.
 *
 * @param chatId - If null or undefined, no chat is loaded and `sendMessage` throws.
 */
export function useChat(chatId: string | null | undefined, { skip = false }: UseChatOptions = {}): UseChatResult {
  const id = skip ? null : chatId;
  const session = useChatSession(id);
  const snapshot = useSyncExternalStore(
    session?.subscribe ?? subscribeToNothing,
    session?.getSnapshot ?? getInitialChat,
    getInitialChat,
  );
  const typingUsers = useTyping(id);
  const presence = usePresence(id);
  const actions = useMemo(() => actionsOf(session), [session]);
  return { ...snapshot, typingUsers, presence, ...actions };
}

type Actions = Omit<UseChatResult, keyof ChatSnapshot | 'typingUsers' | 'presence'>;

function actionsOf(session: ChatSession | null): Actions {
  const chat = (): ChatSession => {
    if (session === null) throw new Error('useChat has no chat: pass a chat id and do not set `skip`');
    return session;
  };
  return {
    sendMessage: (content, replyTo, attachments) => chat().send(content, replyTo, attachments),
    uploadFile: async (file, options) => chat().uploadFile(file, options),
    removeFile: async (fileId) => chat().removeFile(fileId),
    fileUrl: async (fileId) => chat().fileUrl(fileId),
    retry: (key) => {
      session?.retry(key).catch(() => undefined); // Rejects on a double click: the entry is no longer failed.
    },
    discard: (key) => session?.discard(key),
    stop: async (turnId) => chat().stop(turnId),
    regenerate: async (turnId) => chat().regenerate(turnId),
    edit: async (messageId, content, removeFiles) => chat().edit(messageId, content, removeFiles),
    deleteMessage: async (messageId) => chat().delete(messageId),
    react: async (messageId, emoji, adds) => chat().react(messageId, emoji, adds),
    pin: async (messageId, adds) => chat().pin(messageId, adds),
    pins: async () => chat().pins(),
    replies: async (messageId) => chat().replies(messageId),
    versions: async (messageId) => chat().versions(messageId),
    loadOlder: () => session?.loadOlder() ?? Promise.resolve(),
    loadTo: (place) => session?.loadTo(place) ?? Promise.resolve(false),
    setTyping: (typing) => session?.setTyping(typing),
  };
}
