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
  | 'chat-archived'
  | 'addition-limit'
  | 'message-not-found'
  | 'turn-not-found'
  | 'muted'
  | 'banned'
  | 'last-owner'
  | 'member-not-found'
  | 'invite-not-found'
  | 'too-many-entries'
  | 'too-many-marks'
  | 'answer-active'
  | 'message-refused'
  | 'webhook-not-found'
  | 'too-large'
  | 'file-not-found'
  | 'file-limit'
  | 'file-type'
  | 'unsupported-media-type'
  | 'misdirected'
  | 'invalid'
  | 'limit-reached'
  | 'rate-limited'
  | 'quota-reached'
  | 'unknown-event'
  | 'internal'
  | 'unavailable';
/**
 * The state of a turn. The last four are final.
 */
export type TurnStatus = 'queued' | 'streaming' | 'complete' | 'stopped' | 'incomplete' | 'failed';
/**
 * Why a turn was stopped, is incomplete or failed.
 */
export type TurnReason =
  | 'by-user'
  | 'replaced'
  | 'worker-lost'
  | 'shutdown'
  | 'cut-by-provider'
  | 'too-long'
  | 'filtered'
  | 'timeout'
  | 'responder-error'
  | 'provider-unreachable'
  | 'provider-refused'
  | 'rate-limited'
  | 'no-text'
  | 'no-responder'
  | 'too-many-attempts'
  | 'refused'
  | 'not-reviewed';
/**
 * The role of a member in a chat; what each may do is in `roomcast.chat.policies.rights`.
 */
export type MemberRole = 'owner' | 'moderator' | 'member' | 'reader';

export interface Contract {
  AckError: AckError;
  AckFailure: AckFailure;
  Acks: Acks;
  AiChunk: AiChunk;
  AiEnd: AiEnd;
  AiSettings: AiSettings;
  AiStatus: AiStatus;
  AiTool: AiTool;
  Attachment: Attachment;
  AuditAct: AuditAct;
  AuditPage: AuditPage;
  Ban: Ban;
  BanList: BanList;
  ChangeNotifications: ChangeNotifications;
  ChangeRetention: ChangeRetention;
  Chat: Chat;
  ChatActivity: ChatActivity;
  ChatAi: ChatAi;
  ChatChange: ChatChange;
  ChatDeleted: ChatDeleted;
  ChatEvent: ChatEvent;
  ChatNotifications: ChatNotifications;
  ChatPage: ChatPage;
  ChatRead: ChatRead;
  ClientToServerEvents: ClientToServerEvents;
  Config: Config;
  CreateChat: CreateChat;
  CreateInvite: CreateInvite;
  Cursor: Cursor;
  CustomEvent: CustomEvent;
  EditMessage: EditMessage;
  Erasure: Erasure;
  ErrorCode: ErrorCode;
  EventPage: EventPage;
  FeedPage: FeedPage;
  FileLink: FileLink;
  FileLinks: FileLinks;
  FileRules: FileRules;
  GatewayAddress: GatewayAddress;
  Health: Health;
  Invite: Invite;
  InviteList: InviteList;
  InvitePreview: InvitePreview;
  JoinChat: JoinChat;
  JoinChatAck: JoinChatAck;
  JoinUserAck: JoinUserAck;
  LastMessage: LastMessage;
  LeaveChat: LeaveChat;
  LeaveChatAck: LeaveChatAck;
  LogOut: LogOut;
  MarkRead: MarkRead;
  Me: Me;
  Member: Member;
  MemberAdded: MemberAdded;
  MemberPage: MemberPage;
  MemberRemoved: MemberRemoved;
  MemberRole: MemberRole;
  MemberUpdate: MemberUpdate;
  Message: Message;
  MessageDeleted: MessageDeleted;
  MessageList: MessageList;
  MessagePage: MessagePage;
  MessageVersions: MessageVersions;
  MessagesErased: MessagesErased;
  MessagesExpired: MessagesExpired;
  NewCustomEvent: NewCustomEvent;
  NewInvite: NewInvite;
  NotificationDefault: NotificationDefault;
  OpenDirectChat: OpenDirectChat;
  PinChange: PinChange;
  Presence: Presence;
  Problem: Problem;
  ProblemItem: ProblemItem;
  PublishEvents: PublishEvents;
  PublishedEvent: PublishedEvent;
  PublishedEvents: PublishedEvents;
  PushKeys: PushKeys;
  PushSubscription: PushSubscription;
  QuotaUse: QuotaUse;
  QuotaUses: QuotaUses;
  Reaction: Reaction;
  ReactionChange: ReactionChange;
  ReadCursor: ReadCursor;
  ReadCursors: ReadCursors;
  RefreshAuth: RefreshAuth;
  RefreshAuthAck: RefreshAuthAck;
  RenameChat: RenameChat;
  Report: Report;
  ReportList: ReportList;
  ReportMessage: ReportMessage;
  ResumeAnswer: ResumeAnswer;
  ResumeAnswerAck: ResumeAnswerAck;
  Resync: Resync;
  SearchHit: SearchHit;
  SearchPage: SearchPage;
  SendMessage: SendMessage;
  ServerToClientEvents: ServerToClientEvents;
  SessionToken: SessionToken;
  SetNotificationDefault: SetNotificationDefault;
  SetTyping: SetTyping;
  StopAnswer: StopAnswer;
  StopAnswerAck: StopAnswerAck;
  StoredEvents: StoredEvents;
  Turn: Turn;
  TurnReason: TurnReason;
  TurnStatus: TurnStatus;
  Typing: Typing;
  TypingAck: TypingAck;
  UpdateMember: UpdateMember;
}
/**
 * Why an event was rejected: a code for programs, a message for people.
 *
 * Attributes:
 *     retry_after: With the code ``rate-limited``: seconds until the same event can succeed; else left out.
 */
export interface AckError {
  code: ErrorCode;
  message: string;
  retryAfter?: number | null;
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
  'ai-resume': ResumeAnswerAck | AckFailure;
  'ai-stop': StopAnswerAck | AckFailure;
  'auth-refresh': RefreshAuthAck | AckFailure;
}
/**
 * The ack of ``join-user``.
 *
 * Attributes:
 *     expires_in: Seconds until the token of the connection expires; left out while authentication is off.
 */
export interface JoinUserAck {
  ok: true;
  userId: string;
  expiresIn?: number | null;
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
 * The ack of ``ai-resume``: a snapshot, with the fields of ``ai-chunk``; later chunks follow it on the connection.
 *
 * Attributes:
 *     last: -1 if the turn has no chunks here: it has not begun, or has ended; its message is in REST.
 */
export interface ResumeAnswerAck {
  ok: true;
  chatId: string;
  turnId: string;
  generation: number;
  first: number;
  last: number;
  chunks: {
    [k: string]: unknown;
  }[];
}
/**
 * The ack of ``ai-stop``: the stop is stored. The turn ends with an event.
 */
export interface StopAnswerAck {
  ok: true;
  turnId: string;
}
/**
 * The ack of ``auth-refresh``.
 *
 * Attributes:
 *     expires_at: When the token expires; null while authentication is off.
 *     expires_in: The same in seconds from now, for clients whose clock is wrong.
 */
export interface RefreshAuthAck {
  ok: true;
  expiresAt: string | null;
  expiresIn: number | null;
}
/**
 * ``ai-chunk``: the next chunks of an answer, in the vocabulary of the AI SDK's UI message stream.
 *
 * Attributes:
 *     generation: As in `Turn`. A higher one than before voids the chunks received so far. Left out if 1, so that an
 *         event is at most 200 bytes larger than the text of its chunk.
 *     first: Number of the first chunk, from 0.
 *     last: Number of the last chunk; less than ``first`` if ``chunks`` is empty: earlier chunks must be fetched.
 *     chunks: One per number or, in a snapshot from 0, fewer: the deltas of each part are merged.
 */
export interface AiChunk {
  chatId: string;
  turnId: string;
  generation?: number;
  first: number;
  last: number;
  chunks: {
    [k: string]: unknown;
  }[];
}
/**
 * ``ai-end``: the `Message` of a turn that has ended, without ``content`` and ``parts``, which the chunks carried.
 *
 * A client that lacks chunks up to ``turn.last`` fetches the message through REST, from its place.
 */
export interface AiEnd {
  id: string;
  role: 'USER' | 'AI';
  time: string;
  chatId: string;
  epoch: string;
  seq: number;
  place: number;
  version: number;
  turn: Turn;
}
/**
 * The turn that answers a message, or whose answer a message is.
 *
 * Attributes:
 *     id: Also the id of the answer.
 *     message_id: The USER message that is answered.
 *     reason: Null while the turn is ``queued`` or ``streaming``, and if it is ``complete``.
 *     generation: How often a worker has claimed the turn. Chunks of an earlier generation are void.
 *     last: Number of the last chunk of the answer; -1 before the first. Only exact once the turn has ended.
 */
export interface Turn {
  id: string;
  messageId: string;
  status: TurnStatus;
  reason: TurnReason | null;
  generation: number;
  last: number;
}
/**
 * How a chat answers: the body of ``PUT /api/chats/{id}/ai``. Fields that are left out have their defaults.
 *
 * Attributes:
 *     answers: Which USER messages are answered: all, those that mention ``@ai`` or the responder's name, or none.
 *     when_active: What happens to a USER message that asks for an answer while a turn of the chat is active: its turn
 *         waits; its turn replaces the waiting ones; or the message is refused with 409 ``answer-active``.
 *     responder: Name of the responder; null: the server's default.
 *     model: Name of the model, for responders that have several; null: the responder's default.
 *     system_prompt: Instructions for the model, before the messages.
 *     token_budget: Approximate maximum number of tokens of the system prompt and the messages that the model
 *         receives; null: the server's default.
 */
export interface AiSettings {
  answers?: 'always' | 'mention' | 'never';
  whenActive?: 'queue' | 'latest' | 'reject';
  responder?: string | null;
  model?: string | null;
  systemPrompt?: string | null;
  tokenBudget?: number | null;
}
/**
 * ``ai-status``: a turn was queued as a new version, has started, or has ended without a text.
 *
 * Attributes:
 *     place: The place of the answer; null if the turn has not started and replaces no earlier answer.
 *     version: The version of the answer at its place.
 */
export interface AiStatus {
  chatId: string;
  epoch: string;
  seq: number;
  time: string;
  place: number | null;
  version: number;
  turn: Turn;
}
/**
 * ``ai-tool``: the answer called a tool. Input and result are in the chunks and in the parts of the message.
 */
export interface AiTool {
  chatId: string;
  epoch: string;
  seq: number;
  time: string;
  turnId: string;
  toolCallId: string;
  toolName: string;
}
/**
 * A file of a message.
 *
 * Attributes:
 *     type: The media type, determined from the file's first bytes.
 *     size: In bytes.
 *     width: In pixels, of an image as it is shown; null for other files, also the next.
 */
export interface Attachment {
  id: string;
  name: string;
  type: string;
  size: number;
  width: number | null;
  height: number | null;
}
/**
 * One administrative act.
 *
 * Attributes:
 *     id: Grows with each act.
 *     action: What was done, such as ``member.added``; all are in docs/moderation.md.
 *     chat_id: The chat; null: the act concerns a user only.
 *     actor_id: The user that did it; null: a service, or a client while authentication is off.
 *     object_id: The user, message, link or erasure that it was done to; null: the chat.
 *     trace: W3C ``traceparent`` of the request; null: it had none.
 */
export interface AuditAct {
  id: number;
  action: string;
  time: string;
  chatId: string | null;
  actorId: string | null;
  objectId: string | null;
  trace: string | null;
}
/**
 * The response of ``GET /api/audit``: the newest act first. The next page has ``before`` of the last one.
 */
export interface AuditPage {
  acts: AuditAct[];
}
/**
 * A user that may not become a member.
 *
 * Attributes:
 *     actor_id: The user that banned it; null for a service.
 *     until: When the ban ends; null: when it is ended.
 */
export interface Ban {
  userId: string;
  actorId: string | null;
  bannedAt: string;
  until: string | null;
}
/**
 * The response of ``GET /api/chats/{id}/bans``: ascending by user id.
 */
export interface BanList {
  bans: Ban[];
}
/**
 * The body of ``PATCH /api/chats/{id}/notifications``. What is null or left out stays as it is.
 *
 * Attributes:
 *     level: What notifies the user of this chat; ``default``: as in chats without a setting.
 *     muted_for: For how many seconds nothing notifies the user; 0 ends the mute.
 */
export interface ChangeNotifications {
  level?: 'default' | ('all' | 'mentions' | 'none') | null;
  mutedFor?: number | null;
}
/**
 * The body of ``PUT /api/chats/{id}/retention``.
 *
 * Attributes:
 *     days: Messages are deleted so many days after they were sent; 0: never; null: as the deployment says.
 */
export interface ChangeRetention {
  days: number | null;
}
/**
 * One chat.
 *
 * Attributes:
 *     last_activity_at: Time of its last event, or of its creation if it has no events.
 *     last_seq: Seq of its last event; 0 if it has no events.
 *     last_message: Its newest message; null if it has no messages.
 *     epoch: The current epoch.
 *     ai: How it answers.
 *     archived: Whether the chat is read-only and out of the default list. Left out if not.
 *     direct: The two users of a direct chat. Left out if it is none.
 *     retention_days: After how many days messages are deleted; 0: never. Left out if the deployment says it.
 *     preview: The first 120 characters of the newest message; null if it has no messages.
 *     preview_file: The name of its first file. Left out unless it has files and no text.
 *     unread: The user's unread messages, at most 999; null if the request names no user.
 *     mentions: Those that mention the user, counted alike.
 *     notify: What notifies the user now, with its default and a mute. Left out if ``all``.
 */
export interface Chat {
  id: string;
  title: string | null;
  createdAt: string;
  lastActivityAt: string;
  lastSeq: number;
  lastMessage: LastMessage | null;
  epoch: string;
  ai: ChatAi;
  archived?: boolean;
  direct?: string[] | null;
  preview: string | null;
  previewFile?: string | null;
  unread: number | null;
  mentions: number | null;
  notify?: 'all' | 'mentions' | 'none';
  retentionDays?: number | null;
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
 * How a chat answers: the settings in effect; see `AiSettings`.
 *
 * Attributes:
 *     responder: Name of the responder, which may be the server's default; null: the chat is not answered.
 */
export interface ChatAi {
  answers: 'always' | 'mention' | 'never';
  whenActive: 'queue' | 'latest' | 'reject';
  responder: string | null;
  model: string | null;
  systemPrompt: string | null;
  tokenBudget: number | null;
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
 * ``chat-changed``: the chat was renamed, archived or taken back from the archive, or its retention changed.
 *
 * Attributes:
 *     title: The title from now on; null if it has none.
 *     archived: Whether the chat is archived from now on.
 *     user_id: The user that changed it; null for a service, and while authentication is off.
 *     retention_days: As in `roomcast.contract.rest.Chat`.
 */
export interface ChatChange {
  chatId: string;
  epoch: string;
  seq: number;
  time: string;
  title: string | null;
  archived: boolean;
  userId: string | null;
  retentionDays: number | null;
}
/**
 * ``chat-deleted``: the last event of a chat. Its sockets leave the room after it.
 *
 * Attributes:
 *     user_id: The user that deleted it; null for a service, and while authentication is off.
 */
export interface ChatDeleted {
  chatId: string;
  epoch: string;
  seq: number;
  time: string;
  userId: string | null;
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
 * The response of ``GET`` and ``PATCH /api/chats/{id}/notifications``.
 *
 * Attributes:
 *     level: What notifies the user of this chat.
 *     muted_until: Nothing notifies the user before this time; null: there is no mute.
 */
export interface ChatNotifications {
  level: 'default' | ('all' | 'mentions' | 'none');
  mutedUntil: string | null;
}
/**
 * The response of ``GET /api/chats``: latest activity first. ``nextCursor`` is null on the last page.
 */
export interface ChatPage {
  chats: Chat[];
  nextCursor: string | null;
}
/**
 * ``chat-read``: a user has read a chat up to ``seq``.
 *
 * Emitted to all sockets of the user and, in a chat of at most 100 members, to the sockets that follow the chat.
 */
export interface ChatRead {
  chatId: string;
  userId: string;
  seq: number;
}
/**
 * Name and single argument of each event that a client sends, except ``ping``, which has no argument.
 */
export interface ClientToServerEvents {
  'join-user': string;
  'join-chat': string | JoinChat;
  'leave-chat': string | LeaveChat;
  typing: string | SetTyping;
  'ai-resume': ResumeAnswer;
  'ai-stop': StopAnswer;
  'auth-refresh': RefreshAuth;
}
/**
 * ``join-chat``: follow a chat. A bare ``chatId``, as in the guide, is read as ``{chatId}``.
 *
 * Attributes:
 *     since: The client's cursor. The gateway replays the events after the cursor before it sends the ack.
 *     stream: Whether to receive the chunks of answers (``ai-chunk``), and ``ai-end`` in place of their ``new-msg``.
 */
export interface JoinChat {
  chatId: string;
  since?: Cursor | null;
  stream?: boolean;
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
 * ``ai-resume``: request the chunks of a turn that a client lacks.
 */
export interface ResumeAnswer {
  chatId: string;
  turnId: string;
}
/**
 * ``ai-stop``: stop a turn. Members that may write may; a turn that has ended stays as it is.
 */
export interface StopAnswer {
  chatId: string;
  turnId: string;
}
/**
 * ``auth-refresh``: replace the token of the connection by a newer one of the same user.
 */
export interface RefreshAuth {
  token: string;
}
/**
 * The response of ``GET /api/config``.
 *
 * Attributes:
 *     auth: Whether requests and connections need a token.
 *     sign_in: Whether users sign in at an identity provider: `GET /api/auth/login`, then `POST /api/auth/token`.
 *     epoch: The current epoch.
 *     version: The server's version.
 *     push_key: The public key for subscriptions of Web Push, in base64url. Left out if the server sends no pushes.
 *     files: Which files may be uploaded; null: none.
 */
export interface Config {
  auth: boolean;
  signIn: boolean;
  files: FileRules | null;
  gateway: GatewayAddress;
  epoch: string;
  version: string;
  pushKey?: string | null;
}
/**
 * Which files may be uploaded.
 *
 * Attributes:
 *     max_bytes: Maximum size of a file.
 *     types: Accepted media types, such as ``image/*``; null: any.
 */
export interface FileRules {
  maxBytes: number;
  types: string[] | null;
}
/**
 * Address of the gateway: ``url`` or, if null, the API's URL with ``port``. If both are null: the API's URL.
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
 *     ai: How the chat answers; left out: the defaults.
 */
export interface CreateChat {
  id?: string | null;
  title?: string | null;
  /**
   * @maxItems 256
   */
  members?: string[];
  ai?: AiSettings | null;
}
/**
 * The body of ``POST /api/chats/{id}/invites``.
 *
 * Attributes:
 *     role: The role of those that join through the link.
 *     expires_in: Seconds until the link is invalid; null: no limit.
 *     max_uses: How many users can join through it; null: no limit.
 */
export interface CreateInvite {
  /**
   * The role of a member in a chat; what each may do is in `roomcast.chat.policies.rights`.
   */
  role?: 'owner' | 'moderator' | 'member' | 'reader';
  expiresIn?: number | null;
  maxUses?: number | null;
}
/**
 * ``custom``: an event of another application, from ``POST /api/events``. Roomcast attaches no meaning to it.
 *
 * Attributes:
 *     id: Chosen by the application; unique in the chat.
 *     data: The application's JSON object.
 */
export interface CustomEvent {
  chatId: string;
  epoch: string;
  seq: number;
  time: string;
  id: string;
  name: string;
  data: {
    [k: string]: unknown;
  };
}
/**
 * The body of ``PUT /api/chats/{id}/messages/{messageId}``: a new version of a USER message, with a new answer.
 *
 * Attributes:
 *     content: May be empty if the message has files that stay.
 *     client_msg_id: As in `SendMessage`.
 *     remove_files: Files of the message to remove.
 */
export interface EditMessage {
  content: string;
  /**
   * @maxItems 10
   */
  removeFiles?:
    | []
    | [string]
    | [string, string]
    | [string, string, string]
    | [string, string, string, string]
    | [string, string, string, string, string]
    | [string, string, string, string, string, string]
    | [string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string, string, string];
  clientMsgId?: string | null;
}
/**
 * The erasure of the data of a user.
 *
 * Attributes:
 *     id: Also replaces the id of the user where rows are kept.
 *     requested_at: When it began.
 *     done_at: When all data was erased; null: not yet.
 *     erased: Rows that were deleted or changed so far.
 */
export interface Erasure {
  id: string;
  requestedAt: string;
  doneAt: string | null;
  erased: number;
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
 * The response of ``GET /api/events``: events of all chats. Those of an existing chat ascend by seq, without gaps.
 *
 * Attributes:
 *     cursor: Where the next request continues; keep it when the events are processed.
 *     more: Whether to request the next page at once.
 *     reset: The given cursor is of a history that a backup has replaced: there are no events, and ``cursor`` is at
 *         the beginning.
 */
export interface FeedPage {
  events: ChatEvent[];
  cursor: string;
  more: boolean;
  reset: boolean;
}
/**
 * Where a file is downloaded, until the links expire.
 *
 * Attributes:
 *     url: Path below the URL of the API.
 */
export interface FileLink {
  id: string;
  url: string;
}
/**
 * The response of ``GET /api/chats/{id}/files``. Files that do not exist any more are left out.
 *
 * Attributes:
 *     expires_in: Seconds until the links expire.
 */
export interface FileLinks {
  links: FileLink[];
  expiresIn: number;
}
/**
 * The response of ``GET /health``.
 */
export interface Health {
  status: 'healthy';
  service: string;
}
/**
 * An invite link.
 *
 * Attributes:
 *     actor_id: The user that created it; null for a service.
 *     expires_at: Until when users can join; null: no limit.
 *     max_uses: How many users can join; null: no limit.
 *     uses: How many users have joined.
 */
export interface Invite {
  id: string;
  actorId: string | null;
  role: MemberRole;
  createdAt: string;
  expiresAt: string | null;
  maxUses: number | null;
  uses: number;
}
/**
 * The response of ``GET /api/chats/{id}/invites``.
 */
export interface InviteList {
  invites: Invite[];
}
/**
 * The response of ``GET /api/invites/{token}``.
 *
 * Attributes:
 *     title: The title of the chat; null: it has none.
 *     member_count: The number of its members.
 *     role: The role of those that join.
 *     chat_id: The chat, if the caller is a member; else null.
 */
export interface InvitePreview {
  title: string | null;
  memberCount: number;
  role: MemberRole;
  chatId: string | null;
}
/**
 * The body of ``POST /api/logout``.
 *
 * Attributes:
 *     everywhere: End all access tokens of the user, on every device.
 */
export interface LogOut {
  everywhere?: boolean;
}
/**
 * The body of ``PUT /api/chats/{id}/read``.
 *
 * Attributes:
 *     seq: The seq of the last event that the user has seen. A smaller one than before changes nothing; a larger one
 *         than the chat's head counts as the head.
 *     epoch: The epoch of that event. If a backup has replaced it since, nothing changes: the user has not seen the
 *         event that has its seq now. Null: not checked.
 */
export interface MarkRead {
  seq: number;
  epoch?: string | null;
}
/**
 * The response of ``GET /api/me``.
 *
 * Attributes:
 *     user_id: The user, or the name of the service; null while authentication is off.
 *     name: The name to show for the user; null: the token has none.
 *     service: Whether the caller is a back end.
 */
export interface Me {
  userId: string | null;
  name: string | null;
  service: boolean;
}
/**
 * One member of a chat.
 *
 * Attributes:
 *     muted_until: Until when the member cannot write, which may be past; null: the member can.
 */
export interface Member {
  userId: string;
  addedAt: string;
  role: MemberRole;
  mutedUntil: string | null;
}
/**
 * ``member-added``. Events of earlier versions have no role; it is ``member`` then.
 *
 * Attributes:
 *     muted_until: Until when the member cannot write, since it left while it was muted. Left out if it can.
 */
export interface MemberAdded {
  chatId: string;
  epoch: string;
  seq: number;
  time: string;
  userId: string;
  actorId: string | null;
  /**
   * The role of a member in a chat; what each may do is in `roomcast.chat.policies.rights`.
   */
  role: 'owner' | 'moderator' | 'member' | 'reader';
  mutedUntil?: string | null;
}
/**
 * The response of ``GET /api/chats/{id}/members``: at most 1,000, ascending by user id.
 *
 * Attributes:
 *     has_more: Whether there are more. The query ``after`` with the id of the last member gives the next page.
 */
export interface MemberPage {
  members: Member[];
  hasMore: boolean;
}
/**
 * ``member-removed``. Events of earlier versions do not say whether the member was banned.
 */
export interface MemberRemoved {
  chatId: string;
  epoch: string;
  seq: number;
  time: string;
  userId: string;
  actorId: string | null;
  banned: boolean;
}
/**
 * ``member-updated``: the role or the mute of a member changed.
 *
 * Attributes:
 *     role: The role from now on.
 *     muted_until: Until when the member cannot write; null: the member is not muted.
 *     actor_id: As in `MemberChange`.
 */
export interface MemberUpdate {
  chatId: string;
  epoch: string;
  seq: number;
  time: string;
  userId: string;
  role: MemberRole;
  mutedUntil: string | null;
  actorId: string | null;
}
/**
 * ``new-msg``: one message. The first four fields are those of the guide.
 *
 * Attributes:
 *     content: The text; for an answer, the text of all its text parts. Empty in an answer that has no text yet.
 *     seq: Seq of the event that wrote this state of the message.
 *     place: Position among the messages of the chat, which never changes: the seq at which the message was first
 *         written or, for an answer, at which its turn started.
 *     version: 1, or higher if the message replaces earlier versions at the same place.
 *     turn: The turn that answers this message, or whose answer it is; null if there is none.
 *     parts: The parts of an answer, as in a ``UIMessage`` of the AI SDK; null for a message of text alone.
 *     reply_to: Id of the message that this one replies to. Left out if there is none.
 *     deleted: Whether the message was deleted: its text and parts are erased. Left out if not.
 *     reactions: Only in REST, where they are current; events follow with each change. Left out if there are none.
 *     pinned: Only in REST, as `reactions`. Left out if not.
 *     attachments: Its files, whose links are in `GET …/files`. Left out if there are none.
 */
export interface Message {
  id: string;
  role: 'USER' | 'AI';
  content: string;
  time: string;
  chatId: string;
  epoch: string;
  seq: number;
  place: number;
  version: number;
  userId: string | null;
  clientMsgId: string | null;
  status: 'sent';
  turn: Turn | null;
  parts:
    | {
        [k: string]: unknown;
      }[]
    | null;
  replyTo?: string | null;
  deleted?: boolean;
  reactions?: Reaction[];
  pinned?: boolean;
  attachments?: Attachment[];
}
/**
 * One emoji on a message, and the users that reacted with it, in the order of their reactions.
 */
export interface Reaction {
  emoji: string;
  userIds: string[];
}
/**
 * ``msg-deleted``: the message at a place, in all its versions, has no text any more.
 *
 * Attributes:
 *     user_id: The user that deleted it; null for a service, and while authentication is off.
 */
export interface MessageDeleted {
  chatId: string;
  epoch: string;
  seq: number;
  time: string;
  place: number;
  messageId: string;
  userId: string | null;
}
/**
 * Messages as they are now, ascending by place: the response of ``GET …/pins`` and ``GET …/replies``.
 */
export interface MessageList {
  messages: Message[];
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
 * The response of ``GET …/messages/{messageId}/versions``: all messages at its place, oldest version first.
 */
export interface MessageVersions {
  versions: Message[];
}
/**
 * ``msgs-erased``: the messages at some places, in all their versions, have no text and no author any more.
 *
 * Attributes:
 *     places: Ascending, at most 500.
 */
export interface MessagesErased {
  chatId: string;
  epoch: string;
  seq: number;
  time: string;
  places: number[];
}
/**
 * ``msgs-expired``: the messages up to a place were deleted. The history has them no longer.
 *
 * Attributes:
 *     through: The place of the last one.
 */
export interface MessagesExpired {
  chatId: string;
  epoch: string;
  seq: number;
  time: string;
  through: number;
}
/**
 * One event of an application.
 *
 * Attributes:
 *     id: Chosen by the application. A repeat in the same chat stores nothing and returns the first result.
 *     name: Chosen by the application, such as ``order.shipped``.
 *     data: At most 32,768 bytes as JSON, nested at most 32 levels deep.
 */
export interface NewCustomEvent {
  chatId: string;
  id: string;
  name: string;
  data?: {
    [k: string]: unknown;
  };
}
/**
 * The response of ``POST /api/chats/{id}/invites``. The token is not stored: it cannot be read later.
 */
export interface NewInvite {
  id: string;
  actorId: string | null;
  role: MemberRole;
  createdAt: string;
  expiresAt: string | null;
  maxUses: number | null;
  uses: number;
  token: string;
}
/**
 * The response of ``GET /api/notifications``; ``all`` if the user has set nothing.
 */
export interface NotificationDefault {
  level: 'all' | 'mentions' | 'none';
}
/**
 * The body of ``POST /api/chats/direct``.
 *
 * Attributes:
 *     user_id: The other user.
 *     acting_user_id: The user that opens the chat, while authentication is off or with a service token; else left out
 *         or the token's user.
 */
export interface OpenDirectChat {
  userId: string;
  actingUserId?: string | null;
}
/**
 * ``pin``: the message at a place was pinned, or is no longer.
 *
 * Attributes:
 *     user_id: The user that changed it; null for a service, and while authentication is off.
 */
export interface PinChange {
  chatId: string;
  epoch: string;
  seq: number;
  time: string;
  place: number;
  messageId: string;
  pinned: boolean;
  userId: string | null;
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
 *     limit: With the codes ``rate-limited`` and ``quota-reached``: the name of the limit. The header
 *         ``Retry-After`` says when to repeat.
 *     request_id: The id of the request in the log lines of the API, also in the header ``X-Request-Id``; left out if
 *         the request was refused before it had one.
 */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ErrorCode;
  errors?: ProblemItem[] | null;
  limit?: string | null;
  requestId?: string | null;
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
 * The body of ``POST /api/events``. Either all events are stored or none; those of one chat keep their order.
 */
export interface PublishEvents {
  /**
   * @minItems 1
   * @maxItems 100
   */
  events: [NewCustomEvent, ...NewCustomEvent[]];
}
/**
 * What became of one event of `PublishEvents`.
 *
 * Attributes:
 *     created: False if an earlier request stored it.
 */
export interface PublishedEvent {
  chatId: string;
  id: string;
  seq: number;
  created: boolean;
}
/**
 * The response of ``POST /api/events``, in the order of the request.
 */
export interface PublishedEvents {
  events: PublishedEvent[];
}
/**
 * The keys of a device, in base64url: ``PushSubscription.toJSON().keys``.
 */
export interface PushKeys {
  p256dh: string;
  auth: string;
}
/**
 * The body of ``PUT /api/push/devices``: ``PushSubscription.toJSON()`` of a browser.
 *
 * Attributes:
 *     endpoint: The URL at the push service of the browser.
 *     expiration_time: Ignored: the push service says when a subscription has ended.
 */
export interface PushSubscription {
  endpoint: string;
  keys: PushKeys;
  expirationTime?: number | null;
}
/**
 * One quota of the caller in the present window.
 *
 * Attributes:
 *     name: ``user-turns``, ``user-tokens``, ``tenant-turns`` or ``tenant-tokens``: AI answers, or their tokens, of
 *         the user, or of all users of its tenant.
 *     used: How much was used; tokens may exceed the limit, since they are known at the end of an answer.
 */
export interface QuotaUse {
  name: string;
  used: number;
  limit: number;
}
/**
 * The response of ``GET /api/me/quota``.
 *
 * Attributes:
 *     resets_at: When the quotas are full again; null: the caller has none.
 */
export interface QuotaUses {
  resetsAt: string | null;
  quotas: QuotaUse[];
}
/**
 * ``reaction``: a user added a reaction to the message at a place, or took it back.
 *
 * Attributes:
 *     added: False if it was taken back.
 *     user_id: The user.
 */
export interface ReactionChange {
  chatId: string;
  epoch: string;
  seq: number;
  time: string;
  place: number;
  messageId: string;
  emoji: string;
  added: boolean;
  userId: string;
}
/**
 * Up to where one user has read a chat.
 */
export interface ReadCursor {
  userId: string;
  seq: number;
}
/**
 * The response of ``GET /api/chats/{id}/reads``: ascending by user id, the first 1,000.
 */
export interface ReadCursors {
  reads: ReadCursor[];
}
/**
 * The body of ``PUT /api/chats/{id}/title``. Null removes the title.
 */
export interface RenameChat {
  title: string | null;
}
/**
 * An open report of a message.
 */
export interface Report {
  messageId: string;
  userId: string;
  reason: string;
  note: string;
  time: string;
}
/**
 * The response of ``GET /api/chats/{id}/reports``: the oldest first.
 */
export interface ReportList {
  reports: Report[];
}
/**
 * The body of ``PUT /api/chats/{id}/messages/{messageId}/report``.
 *
 * Attributes:
 *     note: What the reporter says about it.
 */
export interface ReportMessage {
  reason: 'spam' | 'abuse' | 'illegal' | 'other';
  note?: string;
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
 * One message that matches a search, in its last version.
 *
 * Attributes:
 *     chat_title: The title of its chat.
 *     place: Its place in the chat, as in its message.
 *     time: When it was sent.
 *     snippet: A part of its text, at the first match.
 *     matches: The matches in the snippet, ascending: pairs of start and end, in UTF-16 code units as in JavaScript.
 */
export interface SearchHit {
  chatId: string;
  chatTitle: string | null;
  messageId: string;
  place: number;
  role: 'USER' | 'AI';
  userId: string | null;
  time: string;
  snippet: string;
  matches: [unknown, unknown][];
}
/**
 * The response of ``GET /api/search``: the newest messages first.
 *
 * Attributes:
 *     hits: The messages; fewer than ``limit``, or none, do not mean that this is the last page.
 *     next_cursor: The ``cursor`` of the next page; null on the last page.
 *     complete: Whether all messages are indexed. After an upgrade from a version without search, older messages are
 *         found only once they are indexed.
 */
export interface SearchPage {
  hits: SearchHit[];
  nextCursor: string | null;
  complete: boolean;
}
/**
 * The body of ``POST /api/chat/messages``.
 *
 * Attributes:
 *     role: ``AI`` needs a service token while authentication is on.
 *     client_msg_id: Idempotency key chosen by the sender. A repeat in the same chat returns the first result.
 *     user_id: The author, while authentication is off or with a service token. Otherwise, the author is the token's
 *         user.
 *     reply_to: Id of a message of the chat, in any version, that this one replies to.
 *     files: Files that the author has uploaded to the chat and not sent yet.
 *     content: May be empty if there are files.
 */
export interface SendMessage {
  chatId: string;
  role: 'USER' | 'AI';
  /**
   * @maxItems 10
   */
  files?:
    | []
    | [string]
    | [string, string]
    | [string, string, string]
    | [string, string, string, string]
    | [string, string, string, string, string]
    | [string, string, string, string, string, string]
    | [string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string, string]
    | [string, string, string, string, string, string, string, string, string, string];
  content: string;
  clientMsgId?: string | null;
  userId?: string | null;
  replyTo?: string | null;
}
/**
 * Name and single argument of each event that the gateway emits.
 */
export interface ServerToClientEvents {
  'new-msg': Message;
  'member-added': MemberAdded;
  'member-removed': MemberRemoved;
  'ai-status': AiStatus;
  'ai-tool': AiTool;
  'msg-deleted': MessageDeleted;
  reaction: ReactionChange;
  pin: PinChange;
  custom: CustomEvent;
  'chat-changed': ChatChange;
  'chat-deleted': ChatDeleted;
  'member-updated': MemberUpdate;
  'msgs-erased': MessagesErased;
  'msgs-expired': MessagesExpired;
  resync: Resync;
  typing: Typing;
  presence: Presence;
  'chat-activity': ChatActivity;
  'chat-read': ChatRead;
  'ai-chunk': AiChunk;
  'ai-end': AiEnd;
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
/**
 * The response of ``POST /api/auth/token``.
 *
 * Attributes:
 *     token: An access token.
 *     expires_in: Its lifetime in seconds.
 */
export interface SessionToken {
  token: string;
  expiresIn: number;
}
/**
 * The body of ``PUT /api/notifications``: what notifies the user of chats without a setting.
 */
export interface SetNotificationDefault {
  level: 'all' | 'mentions' | 'none';
}
/**
 * Name and single argument of each event that has a seq.
 */
export interface StoredEvents {
  'new-msg': Message;
  'member-added': MemberAdded;
  'member-removed': MemberRemoved;
  'ai-status': AiStatus;
  'ai-tool': AiTool;
  'msg-deleted': MessageDeleted;
  reaction: ReactionChange;
  pin: PinChange;
  custom: CustomEvent;
  'chat-changed': ChatChange;
  'chat-deleted': ChatDeleted;
  'member-updated': MemberUpdate;
  'msgs-erased': MessagesErased;
  'msgs-expired': MessagesExpired;
}
/**
 * The body of ``PATCH /api/chats/{id}/members/{userId}``: a new role, a mute, or both.
 *
 * Attributes:
 *     muted_for: Seconds from now in which the member cannot write; 0 ends a mute. An owner cannot be muted.
 */
export interface UpdateMember {
  role?: MemberRole | null;
  mutedFor?: number | null;
}
