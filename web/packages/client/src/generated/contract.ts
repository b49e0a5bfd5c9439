// Generated from src/roomcast/contract by `npm run generate`. Do not edit.

/**
 * Stable names for machines; the text beside them is for people and may change.
 */
export type ErrorCode =
  | 'bad-request'
  | 'unauthorized'
  | 'forbidden'
  | 'not-found'
  | 'chat-not-found'
  | 'method-not-allowed'
  | 'chat-exists'
  | 'too-large'
  | 'unsupported-media-type'
  | 'misdirected'
  | 'invalid'
  | 'limit-reached'
  | 'unknown-event'
  | 'internal'
  | 'unavailable';

export interface Contract {
  AckError: AckError;
  AckFailure: AckFailure;
  Acks: Acks;
  Chat: Chat;
  ChatActivity: ChatActivity;
  ChatEvent: ChatEvent;
  ChatPage: ChatPage;
  ClientToServerEvents: ClientToServerEvents;
  Config: Config;
  CreateChat: CreateChat;
  Cursor: Cursor;
  ErrorCode: ErrorCode;
  EventPage: EventPage;
  GatewayAddress: GatewayAddress;
  Health: Health;
  JoinChat: JoinChat;
  JoinChatAck: JoinChatAck;
  JoinUserAck: JoinUserAck;
  LeaveChat: LeaveChat;
  LeaveChatAck: LeaveChatAck;
  Member: Member;
  MemberChange: MemberChange;
  MemberPage: MemberPage;
  Message: Message;
  MessagePage: MessagePage;
  Presence: Presence;
  Problem: Problem;
  ProblemItem: ProblemItem;
  Resync: Resync;
  SendMessage: SendMessage;
  ServerToClientEvents: ServerToClientEvents;
  SetTyping: SetTyping;
  Typing: Typing;
  TypingAck: TypingAck;
}
/**
 * Why an event was refused.
 */
export interface AckError {
  code: ErrorCode;
  message: string;
}
/**
 * The ack of an event that was refused.
 */
export interface AckFailure {
  ok: false;
  error: AckError;
}
/**
 * What each event of a client is acked with; ``ping`` with the bare string ``pong``.
 */
export interface Acks {
  'join-user': JoinUserAck | AckFailure;
  'join-chat': JoinChatAck | AckFailure;
  'leave-chat': LeaveChatAck | AckFailure;
  typing: TypingAck | AckFailure;
}
/**
 * The ack of ``join-user``.
 */
export interface JoinUserAck {
  ok: true;
  userId: string;
}
/**
 * The ack of ``join-chat``: everything up to ``seq`` preceded it on this connection if ``recovered``.
 *
 * Attributes:
 *     epoch: The current epoch.
 *     seq: Where live events go on: the next one is ``seq + 1``.
 *     recovered: Everything after the given cursor was replayed, or no cursor was given. False: page through REST.
 *     reset: The cursor is not of this history: forget everything and refetch. Left out when false.
 */
export interface JoinChatAck {
  ok: true;
  chatId: string;
  epoch: string;
  seq: number;
  recovered: boolean;
  reset?: boolean;
}
/**
 * The ack of ``leave-chat``.
 */
export interface LeaveChatAck {
  ok: true;
  chatId: string;
}
/**
 * The ack of ``typing``.
 */
export interface TypingAck {
  ok: true;
  chatId: string;
}
/**
 * One chat.
 *
 * Attributes:
 *     last_seq: Seq of its last event; 0 while it has none.
 *     epoch: The current epoch.
 */
export interface Chat {
  id: string;
  title: string | null;
  createdAt: string;
  lastActivityAt: string;
  lastSeq: number;
  epoch: string;
}
/**
 * ``chat-activity``, to the room of each user of a chat: it has something new, whether it is followed or not.
 *
 * Several events within a moment are told as one: the newest.
 *
 * Attributes:
 *     seq: Where the chat ends now.
 *     user_id: Who wrote, or added a member; None for an AI or a service.
 */
export interface ChatActivity {
  chatId: string;
  epoch: string;
  seq: number;
  userId: string | null;
  time: string;
}
/**
 * One event as the gateway would emit it.
 *
 * Attributes:
 *     type: Its type in the events table.
 *     event: The Socket.IO event's name.
 *     data: The Socket.IO event's only argument.
 */
export interface ChatEvent {
  seq: number;
  type: string;
  event: string;
  data: {
    [k: string]: unknown;
  };
}
/**
 * ``GET /api/chats``: newest activity first. ``next_cursor`` is None on the last page.
 */
export interface ChatPage {
  chats: Chat[];
  nextCursor: string | null;
}
/**
 * Name and only argument of everything that the gateway takes; ``ping`` has none.
 */
export interface ClientToServerEvents {
  'join-user': string;
  'join-chat': string | JoinChat;
  'leave-chat': string | LeaveChat;
  typing: string | SetTyping;
}
/**
 * ``join-chat``. The guide's bare ``chatId`` is read as ``{chatId}``.
 */
export interface JoinChat {
  chatId: string;
  since?: Cursor | null;
}
/**
 * The last event that a client has received: it has everything up to ``seq``, as written in ``epoch``.
 */
export interface Cursor {
  epoch: string;
  seq: number;
}
/**
 * ``leave-chat``. A bare ``chatId`` is read as ``{chatId}``.
 */
export interface LeaveChat {
  chatId: string;
}
/**
 * ``typing``. A bare ``chatId`` is read as ``{chatId, typing: true}``.
 */
export interface SetTyping {
  chatId: string;
  typing?: boolean;
}
/**
 * ``GET /api/config``.
 */
export interface Config {
  auth: boolean;
  gateway: GatewayAddress;
  epoch: string;
  version: string;
}
/**
 * How the page finds the gateway: ``url``; else this host with ``port``; else, both None, this origin.
 */
export interface GatewayAddress {
  url: string | null;
  port: number | null;
}
/**
 * ``POST /api/chats``.
 *
 * Attributes:
 *     id: Chosen by the caller, or left to the server.
 *     members: Who belongs to it besides the caller; used once authentication is on.
 */
export interface CreateChat {
  id?: string | null;
  title?: string | null;
  /**
   * @maxItems 256
   */
  members?: string[];
}
/**
 * ``GET /api/chats/{id}/events``.
 *
 * Attributes:
 *     epoch: The current epoch.
 *     seq: The chat's head.
 *     more: Ask again after the last event.
 *     reset: The given epoch and seq are not of this history: forget everything and refetch.
 */
export interface EventPage {
  epoch: string;
  events: ChatEvent[];
  seq: number;
  more: boolean;
  reset: boolean;
}
/**
 * ``GET /health``.
 */
export interface Health {
  status: 'healthy';
  service: string;
}
/**
 * One member of a chat.
 */
export interface Member {
  userId: string;
  addedAt: string;
}
/**
 * ``member-added`` and ``member-removed``: who belongs to the chat from this seq on.
 *
 * Attributes:
 *     user_id: Who came or went.
 *     actor_id: Who did it; None for a service.
 */
export interface MemberChange {
  chatId: string;
  epoch: string;
  seq: number;
  userId: string;
  actorId: string | null;
  time: string;
}
/**
 * ``GET /api/chats/{id}/members``.
 */
export interface MemberPage {
  members: Member[];
}
/**
 * ``new-msg``: one message. The guide's four members first.
 */
export interface Message {
  id: string;
  role: 'USER' | 'AI';
  content: string;
  time: string;
  chatId: string;
  epoch: string;
  seq: number;
  userId: string | null;
  clientMsgId: string | null;
  status: 'sent';
}
/**
 * ``GET /api/chats/{id}/messages``: ascending by seq.
 *
 * Attributes:
 *     seq: The chat's head at reading: join with it as cursor.
 *     has_more: There are more in the direction of reading: newer ones with ``after``, else older ones.
 */
export interface MessagePage {
  epoch: string;
  seq: number;
  messages: Message[];
  hasMore: boolean;
}
/**
 * ``presence``: who of a chat is there, as changes; a client gets a full picture when it has joined.
 *
 * Attributes:
 *     online: Users who have come: at least one of their devices follows the chat, on whichever gateway.
 *     offline: Users who have gone: none of their devices does any more.
 *     reset: ``online`` is everybody: forget what was known before.
 */
export interface Presence {
  chatId: string;
  online: string[];
  offline: string[];
  reset: boolean;
}
/**
 * The body of every REST error, ``application/problem+json``.
 */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ErrorCode;
  errors?: ProblemItem[] | null;
}
/**
 * One thing that is wrong with a request.
 *
 * Attributes:
 *     pointer: Where: a JSON Pointer into the body (``/content``), or ``?limit`` for a query parameter.
 *     message: What is wrong with it.
 */
export interface ProblemItem {
  pointer: string;
  message: string;
}
/**
 * ``resync``: events were missed; page through REST from your own cursor, or refetch everything if ``reset``.
 */
export interface Resync {
  chatId: string;
  epoch: string;
  seq: number;
  reset: boolean;
}
/**
 * ``POST /api/chat/messages``.
 *
 * Attributes:
 *     client_msg_id: Chosen by the sender: a repeat in the same chat answers the first result.
 *     user_id: Who speaks; only while authentication is off, else the token says it.
 */
export interface SendMessage {
  chatId: string;
  role: 'USER' | 'AI';
  content: string;
  clientMsgId?: string | null;
  userId?: string | null;
}
/**
 * Name and only argument of everything that the gateway emits.
 */
export interface ServerToClientEvents {
  'new-msg': Message;
  'member-added': MemberChange;
  'member-removed': MemberChange;
  resync: Resync;
  typing: Typing;
  presence: Presence;
  'chat-activity': ChatActivity;
}
/**
 * ``typing``: a user of the chat began or stopped to write. Forget it after 6 s without another one.
 *
 * Attributes:
 *     user_id: Who.
 *     typing: Whether they write now.
 */
export interface Typing {
  chatId: string;
  userId: string;
  typing: boolean;
}
