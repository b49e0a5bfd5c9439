/**
 * The guide's public types, and what a chat shows.
 *
 * Source: guide, Step 2.2. Members beyond the guide's are optional in what a program may build itself.
 */
import type { RoomcastError } from './errors.ts';
import type { ChatActivity, Message, Presence, Typing } from './generated/contract.ts';

export enum ConnectionState {
  DISCONNECTED = 'disconnected',
  CONNECTING = 'connecting',
  CONNECTED = 'connected',
  RECONNECTING = 'reconnecting',
}

/** A message as `new-msg` hands it out: the guide's four members, and the server's others where it sent them. */
export interface ChatMessage {
  id: string;
  role: 'USER' | 'AI';
  content: string;
  time: Date;
  chatId?: string;
  epoch?: string;
  seq?: number | null;
  userId?: string | null;
  clientMsgId?: string | null;
}

/** What `on` offers. The first four are the guide's. */
export interface WebSocketEvents {
  connect: () => void;
  disconnect: (reason: string) => void;
  'new-msg': (msg: ChatMessage) => void;
  error: (error: { message: string }) => void;
  /** Somebody began or stopped to write; a chat's `getTyping()` keeps count. */
  typing: (typing: Typing) => void;
  /** Somebody came or went; a chat's `getPresence()` keeps count. */
  presence: (presence: Presence) => void;
  /** A chat of this user has something new, followed or not. */
  'chat-activity': (activity: ChatActivity) => void;
  /** The connection state changed, by whatever cause. */
  state: (state: ConnectionState) => void;
  /** An established connection has been gone for more than a moment: time for a banner. */
  'connection-lost': (reason: string) => void;
  /** The connection that was said to be lost is back. */
  'connection-restored': () => void;
}

/** What the guide's client sends. */
export interface WebSocketEmitEvents {
  'join-user': (userId: string) => void;
  'join-chat': (chatId: string) => void;
  ping: (callback?: (response: string) => void) => void;
}

/** One line of a chat: a message that the server has, or an own one on its way there. */
export interface ChatEntry extends ChatMessage {
  /** Stable from the optimistic entry to the confirmed one. */
  readonly key: string;
  readonly chatId: string;
  /** Position in the chat; null until the server has it. */
  readonly seq: number | null;
  readonly userId: string | null;
  readonly clientMsgId: string | null;
  readonly status: 'sending' | 'sent' | 'failed';
  /** Why it failed. */
  readonly error: RoomcastError | null;
}

/** `idle`: nobody asked yet. `error`: refused; passing failures stay `loading` or `ready` and retry by themselves. */
export type LoadStatus = 'idle' | 'loading' | 'ready' | 'error';

/** One chat of a list. */
export interface ChatSummary {
  readonly id: string;
  readonly title: string | null;
  readonly createdAt: Date;
  readonly lastActivityAt: Date;
  /** Seq of its last event; 0 while it has none. */
  readonly lastSeq: number;
}

/** A message of the wire with its time as a Date. */
export type RevivedMessage = Omit<Message, 'time'> & { time: Date };

export function reviveMessage(message: Message): RevivedMessage {
  return { ...message, time: new Date(message.time) };
}
