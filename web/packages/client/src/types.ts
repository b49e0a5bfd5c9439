/**
 * Public types: those of the guide, and the entries of a chat and of the chat list.
 *
 * Source: guide, Step 2.2. In types that a program may construct, members that the guide does not have are optional.
 */
import type { RoomcastError } from './errors.ts';
import type {
  Attachment,
  ChatActivity,
  CustomEvent,
  ChatRead,
  LastMessage as WireLastMessage,
  Message,
  Presence,
  Reaction,
  Turn,
  Typing,
} from './generated/contract.ts';

/** State of the connection. `RECONNECTING`: not connected; another attempt is running or scheduled. */
export enum ConnectionState {
  DISCONNECTED = 'disconnected',
  CONNECTING = 'connecting',
  CONNECTED = 'connected',
  RECONNECTING = 'reconnecting',
}

/** The argument of `new-msg`: the guide's four members, and the other members if the server sent them. */
export interface ChatMessage {
  id: string;
  role: 'USER' | 'AI';
  content: string;
  time: Date;
  chatId?: string;
  /** Epoch in which the message was written. */
  epoch?: string;
  /** Position in the chat, from 1. */
  seq?: number | null;
  userId?: string | null;
  /** Id that the sender chose; the server stores only one message per id. */
  clientMsgId?: string | null;
  /** Position among the messages of the chat. An answer has the place at which it started. */
  place?: number | null;
  /** Version of the message at its place, from 1. */
  version?: number;
  /** The turn that answers the message, or whose answer it is. */
  turn?: Turn | null;
  /** The parts of an answer; null for a message of text alone. */
  parts?: readonly MessagePart[] | null;
  attachments?: readonly Attachment[];
}

/** One part of an answer, as in a `UIMessage` of the AI SDK. */
export type MessagePart =
  | { readonly type: 'text' | 'reasoning'; readonly text: string; readonly state: 'streaming' | 'done' }
  | ToolPart
  | { readonly type: 'source-url'; readonly sourceId: string; readonly url: string; readonly title?: string }
  | {
      readonly type: 'source-document';
      readonly sourceId: string;
      readonly mediaType: string;
      readonly title: string;
      readonly filename?: string;
    }
  | { readonly type: 'file' | 'reasoning-file'; readonly url: string; readonly mediaType: string }
  | { readonly type: `data-${string}`; readonly id?: string; readonly data: unknown }
  | { readonly type: 'step-start' };

/** A call of a tool. */
export interface ToolPart {
  readonly type: 'dynamic-tool';
  readonly toolCallId: string;
  readonly toolName: string;
  readonly title?: string;
  readonly state: 'input-streaming' | 'input-available' | 'output-available' | 'output-error';
  /** The JSON of the input so far; only while it is streaming. */
  readonly rawInput?: string;
  readonly input?: unknown;
  readonly output?: unknown;
  readonly errorText?: string;
}

/** Events of `on` and the types of their handlers. The first four are the guide's. */
export interface WebSocketEvents {
  connect: () => void;
  /** `reason` is a disconnect reason of Socket.IO, such as `transport close`. */
  disconnect: (reason: string) => void;
  /**
   * A new message of a joined chat: emitted once, in order of `seq`. An answer is emitted when it has ended. A message
   * without `seq` is not stored: another program published it on the guide's Redis channel.
   */
  'new-msg': (msg: ChatMessage) => void;
  /** An event of an application in a joined chat, from `POST /api/events`: emitted once, in order of `seq`. */
  custom: (event: CustomEvent) => void;
  error: (error: { message: string }) => void;
  /** A user started or stopped typing in a joined chat; `getTyping()` of the chat holds the current list. */
  typing: (typing: Typing) => void;
  /** Users came online or went offline in a joined chat; `getPresence()` of the chat holds the current list. */
  presence: (presence: Presence) => void;
  /** A chat of this user has a new event, whether the chat is joined or not. */
  'chat-activity': (activity: ChatActivity) => void;
  /** A user has read a chat up to a seq: this user on any device, or another one in a joined chat. */
  'chat-read': (read: ChatRead) => void;
  /** `ClientOptions.storage` could not store an unsent message: it would not survive a reload. Emitted once. */
  'storage-failed': () => void;
  /** The connection state changed. */
  state: (state: ConnectionState) => void;
  /** An established connection has been down for 2 s; suitable for a banner. */
  'connection-lost': (reason: string) => void;
  /** The connection is open again after `connection-lost`. */
  'connection-restored': () => void;
}

/** Events that the guide's client sends. */
export interface WebSocketEmitEvents {
  'join-user': (userId: string) => void;
  'join-chat': (chatId: string) => void;
  ping: (callback?: (response: string) => void) => void;
}

/** One message of a chat: stored by the server, an own message that is not stored yet, or a live one. */
export interface ChatEntry extends ChatMessage {
  /** Unchanged when an own message is confirmed; suitable as a React key. */
  readonly key: string;
  readonly chatId: string;
  /** Position in the chat; null until the server has stored the message. */
  readonly seq: number | null;
  readonly userId: string | null;
  readonly clientMsgId: string | null;
  /** Null until the server has stored the message. */
  readonly place: number | null;
  readonly version: number;
  /** Null if the message is neither answered nor an answer. Its status changes; see `ChatSnapshot.activeTurn`. */
  readonly turn: Turn | null;
  readonly parts: readonly MessagePart[] | null;
  /** Id of the message that this one replies to, in the version that its author saw; null if there is none. */
  readonly replyTo: string | null;
  /** True if the message was deleted: it has no text. */
  readonly deleted: boolean;
  /** Users by emoji, in the order of their reactions. */
  readonly reactions: readonly Reaction[];
  readonly pinned: boolean;
  /** The files; `ChatSession.fileUrl` returns their links. */
  readonly attachments: readonly Attachment[];
  /** `live`: another program published it on the guide's Redis channel; it is not stored, and a reload removes it. */
  readonly status: 'sending' | 'sent' | 'failed' | 'live';
  /** Why the message failed; null unless `status` is `failed`. */
  readonly error: RoomcastError | null;
}

/**
 * `idle`: not requested. `loading`: no data yet. `ready`: data is present. `error`: permanent failure. A temporary
 * failure is retried and does not change `loading` or `ready`.
 */
export type LoadStatus = 'idle' | 'loading' | 'ready' | 'error';

/** One chat of the chat list. */
export interface ChatSummary {
  readonly id: string;
  readonly title: string | null;
  readonly createdAt: Date;
  readonly lastActivityAt: Date;
  /** Seq of the last event of the chat; 0 without events. */
  readonly lastSeq: number;
  /** The newest message; null without messages. */
  readonly lastMessage: LastMessage | null;
  /** True if the chat is read-only. The list contains such a chat only while it is open. */
  readonly archived: boolean;
  /** The two users of a direct chat; null if it is none. */
  readonly direct: readonly string[] | null;
  /** The beginning of the newest message; null without messages. */
  readonly preview: string | null;
  /** The name of its first file, if it has files and no text. */
  readonly previewFile: string | null;
  /** Messages that the user has not read, at most 999: neither own nor deleted ones. */
  readonly unread: number;
  /** Those that mention the user. */
  readonly mentions: number;
  /** What notifies the user now. */
  readonly notify: NotifyLevel;
}

/** What notifies a user: all messages of others, those that mention it and those of direct chats, or nothing. */
export type NotifyLevel = 'all' | 'mentions' | 'none';

/** The newest message of a chat. */
export interface LastMessage {
  /** Epoch in which the message was written. Seqs of two epochs cannot be compared. */
  readonly epoch: string;
  readonly seq: number;
  /** Author; null for an AI, a service or an unknown user. */
  readonly userId: string | null;
  readonly time: Date;
}

/** A wire message with `time` as a Date. */
export type RevivedMessage = Omit<Message, 'time' | 'parts'> & { time: Date; parts: readonly MessagePart[] | null };

/** What the server leaves out of a message if it is not set. */
export const NO_MARKS: Pick<ChatEntry, 'replyTo' | 'deleted' | 'reactions' | 'pinned' | 'attachments'> = {
  replyTo: null,
  deleted: false,
  reactions: [],
  pinned: false,
  attachments: [],
};

/** `message` is undefined if another server sent the payload. */
export function reviveLastMessage(message: WireLastMessage | null | undefined): LastMessage | null {
  return message ? { ...message, time: new Date(message.time) } : null;
}

export function reviveMessage(message: Message): RevivedMessage {
  // The schema of the contract does not describe the parts.
  return { ...message, time: new Date(message.time), parts: message.parts as RevivedMessage['parts'] };
}
