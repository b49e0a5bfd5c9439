// Generated from src/roomcast/contract by `npm run generate`. Do not edit.

/**
 * Stable error codes for programs. The text that accompanies a code is for people and may change.
 */
export type ErrorCode =
  | 'bad-request'
  | 'unauthorized'
  | 'forbidden'
  | 'not-found'
  | 'chat-not-found'
  | 'method-not-allowed'
  | 'chat-exists'
  | 'addition-limit'
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
  LastMessage: LastMessage;
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
 * Why an event was rejected: a code for programs, a message for people.
 */
export interface AckError {
  code: ErrorCode;
  message: string;
}
/**
 * The ack of a rejected event.
 */
export interface AckFailure {
  ok: false;
  error: AckError;
}
/**
 * The ack of each event that a client sends, except ``ping``, whose ack is the bare string ``pong``.
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
 * The ack of ``join-chat``.
 *
 * Attributes:
 *     epoch: The current epoch.
 *     seq: Seq of the chat's last event; the next live event has ``seq + 1``.
 *     recovered: True if every event after the given cursor up to ``seq`` was sent on this connection before the
 *         ack, or if no cursor was given. If false, fetch the missing events through REST.
 *     reset: True if the cursor does not belong to the chat's current history; then discard everything and refetch.
 *         Left out if false.
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
 *     last_activity_at: Time of its last event, or of its creation if it has no events.
 *     last_seq: Seq of its last event; 0 if it has no events.
 *     last_message: Its newest message; null if it has no messages.
 *     epoch: The current epoch.
 */
export interface Chat {
  id: string;
  title: string | null;
  createdAt: string;
  lastActivityAt: string;
  lastSeq: number;
  lastMessage: LastMessage | null;
  epoch: string;
}
/**
 * The newest message of a chat; it determines whether the chat is unread for a user.
 *
 * Attributes:
 *     epoch: The epoch in which the message was written.
 *     user_id: The user that wrote the message; null for an AI, a service or an unknown user.
 */
export interface LastMessage {
  epoch: string;
  seq: number;
  userId: string | null;
  time: string;
}
/**
 * ``chat-activity``: a chat of the user has a new event, whether or not the client follows it.
 *
 * Of several events in quick succession, only the newest is announced.
 *
 * Attributes:
 *     seq: Seq of the event.
 *     user_id: The user that wrote the message or added the member; null for an AI, a service or an unknown user.
 *     last_message: The newest message since the previous announcement; null if only members were added.
 */
export interface ChatActivity {
  chatId: string;
  epoch: string;
  seq: number;
  userId: string | null;
  time: string;
  lastMessage: LastMessage | null;
}
/**
 * One event, as the gateway emits it.
 *
 * Attributes:
 *     type: The type in the events table.
 *     event: The name of the Socket.IO event.
 *     data: The only argument of the Socket.IO event.
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
 * The response of ``GET /api/chats``: latest activity first. ``nextCursor`` is null on the last page.
 */
export interface ChatPage {
  chats: Chat[];
  nextCursor: string | null;
}
/**
 * Name and single argument of each event that a client sends, except ``ping``, which has no argument.
 */
export interface ClientToServerEvents {
  'join-user': string;
  'join-chat': string | JoinChat;
  'leave-chat': string | LeaveChat;
  typing: string | SetTyping;
}
/**
 * ``join-chat``: follow a chat. A bare ``chatId``, as in the guide, is read as ``{chatId}``.
 *
 * Attributes:
 *     since: The client's cursor. The gateway replays the events after the cursor before it sends the ack.
 */
export interface JoinChat {
  chatId: string;
  since?: Cursor | null;
}
/**
 * A client's position in a chat: it has every event up to ``seq`` of the history as of ``epoch``.
 */
export interface Cursor {
  epoch: string;
  seq: number;
}
/**
 * ``leave-chat``: stop following a chat. A bare ``chatId`` is read as ``{chatId}``.
 */
export interface LeaveChat {
  chatId: string;
}
/**
 * ``typing``: the user starts or stops typing. A bare ``chatId`` is read as ``{chatId, typing: true}``.
 */
export interface SetTyping {
  chatId: string;
  typing?: boolean;
}
/**
 * The response of ``GET /api/config``.
 *
 * Attributes:
 *     auth: Whether requests and connections need a token.
 *     epoch: The current epoch.
 *     version: The server's version.
 */
export interface Config {
  auth: boolean;
  gateway: GatewayAddress;
  epoch: string;
  version: string;
}
/**
 * Address of the gateway: ``url`` or, if null, ``port`` on the API's host. If both are null: the API's origin.
 */
export interface GatewayAddress {
  url: string | null;
  port: number | null;
}
/**
 * The body of ``POST /api/chats``.
 *
 * Attributes:
 *     id: The chat's id, which needs a service token while authentication is on; generated by the server if left out.
 *     members: The first members, in addition to the caller.
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
 * The response of ``GET /api/chats/{id}/events``: ascending by seq.
 *
 * Attributes:
 *     epoch: The current epoch.
 *     seq: The chat's head.
 *     more: Whether there are more events. To get them, request the page after the last event of this one.
 *     reset: Whether the given cursor does not belong to the chat's current history. If true, discard everything and
 *         refetch.
 */
export interface EventPage {
  epoch: string;
  events: ChatEvent[];
  seq: number;
  more: boolean;
  reset: boolean;
}
/**
 * The response of ``GET /health``.
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
 * ``member-added`` and ``member-removed``: from this seq on, a user is, or is no longer, a member.
 *
 * Attributes:
 *     user_id: The member that was added or removed.
 *     actor_id: The user that made the change; null for a service, and while authentication is off.
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
 * The response of ``GET /api/chats/{id}/members``: ascending by user id.
 */
export interface MemberPage {
  members: Member[];
}
/**
 * ``new-msg``: one message. The first four fields are those of the guide.
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
 * The response of ``GET /api/chats/{id}/messages``: ascending by seq.
 *
 * Attributes:
 *     epoch: The current epoch.
 *     seq: The chat's head when the page was read. Join the chat with the cursor ``{epoch, seq}``.
 *     has_more: Whether there are more messages: newer ones if the request had ``after``, otherwise older ones.
 */
export interface MessagePage {
  epoch: string;
  seq: number;
  messages: Message[];
  hasMore: boolean;
}
/**
 * ``presence``: changes of the users online in a chat. After a join, the client receives the full list.
 *
 * A user is online while at least one of its devices follows the chat, on any gateway.
 *
 * Attributes:
 *     online: Users that came online.
 *     offline: Users that went offline.
 *     reset: Whether ``online`` is the full list, which replaces the earlier state.
 */
export interface Presence {
  chatId: string;
  online: string[];
  offline: string[];
  reset: boolean;
}
/**
 * The body of every REST error, as ``application/problem+json``.
 *
 * Attributes:
 *     type: Always ``about:blank``; programs use ``code``.
 *     title: The reason phrase of the HTTP status.
 *     status: The HTTP status.
 *     detail: What is wrong and what to do, for people.
 *     code: The error code, for programs.
 *     errors: The invalid parts of the request; left out if there are none.
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
 * One invalid part of a request.
 *
 * Attributes:
 *     pointer: A JSON Pointer into the body (``/content``), or ``?limit`` for a query parameter.
 *     message: What is wrong with that part.
 */
export interface ProblemItem {
  pointer: string;
  message: string;
}
/**
 * ``resync``: the gateway could not emit some events of the chat.
 *
 * The client fetches them through REST, from its cursor; if ``reset``, it discards everything and refetches.
 */
export interface Resync {
  chatId: string;
  epoch: string;
  seq: number;
  reset: boolean;
}
/**
 * The body of ``POST /api/chat/messages``.
 *
 * Attributes:
 *     role: ``AI`` needs a service token while authentication is on.
 *     client_msg_id: Idempotency key chosen by the sender. A repeat in the same chat returns the first result.
 *     user_id: The author, while authentication is off or with a service token. Otherwise, the author is the token's
 *         user.
 */
export interface SendMessage {
  chatId: string;
  role: 'USER' | 'AI';
  content: string;
  clientMsgId?: string | null;
  userId?: string | null;
}
/**
 * Name and single argument of each event that the gateway emits.
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
 * ``typing``: a user of the chat started or stopped typing. Expires after 6 s unless it is repeated.
 *
 * Attributes:
 *     typing: Whether the user is typing.
 */
export interface Typing {
  chatId: string;
  userId: string;
  typing: boolean;
}
