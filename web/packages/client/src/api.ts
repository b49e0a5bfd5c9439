/** Typed REST API. Every call rejects with a `NetworkError`, a `ProblemError` or a `TokenError`. */
import { apiBase } from './connection/addresses.ts';
import { messageOf, NetworkError, ProblemError, TokenError } from './errors.ts';
import { upload, type UploadOptions } from './files.ts';
import type {
  Report,
  ReportList,
  ReportMessage,
  AiSettings,
  Attachment,
  BanList,
  ChangeNotifications,
  Chat,
  ChatNotifications,
  ChatPage,
  Config,
  CreateChat,
  CreateInvite,
  EditMessage,
  EventPage,
  FileLinks,
  InviteList,
  InvitePreview,
  MemberPage,
  MemberRole,
  Message,
  MessageList,
  MessagePage,
  MessageVersions,
  NewInvite,
  NotificationDefault,
  ReadCursors,
  SearchPage,
  SendMessage,
  Turn,
  UpdateMember,
} from './generated/contract.ts';
import type { Runtime } from './platform/runtime.ts';
import { withTimeLimit } from './platform/time-limit.ts';
import type { NotifyLevel } from './types.ts';

/** Without these time limits, a request or a `getToken` without an outcome would block the outbox. */
const REQUEST_TIMEOUT_MS = 20_000;
const TOKEN_TIMEOUT_MS = 10_000;

/** Returns the access token, or null for an anonymous request. A failure, or no result within 10 s, is retried. */
export type TokenSource = () => string | null | Promise<string | null>;

export interface ApiOptions {
  /** URL of the API, which may have a path; null for the page's origin. */
  apiUrl: string | null;
  getToken: TokenSource | null;
}

/** Which messages are found; default: all. */
export interface SearchFilter {
  readonly chatId?: string | undefined;
  readonly role?: 'USER' | 'AI' | undefined;
  /** The id of a user. */
  readonly author?: string | undefined;
}

type Query = Record<string, string | number | null | undefined>;

/** Methods of the REST API. Requests time out after 20 s. */
export class RoomcastApi {
  /** Returns the current options; called for each request, because the options may change. */
  readonly #options: () => ApiOptions;
  readonly #runtime: Pick<Runtime, 'clock' | 'fetch' | 'pageOrigin'>;

  constructor(options: () => ApiOptions, runtime: Pick<Runtime, 'clock' | 'fetch' | 'pageOrigin'>) {
    this.#options = options;
    this.#runtime = runtime;
  }

  /** The configuration of the server: gateway address, version, and whether tokens are required. */
  config(): Promise<Config> {
    return this.#request('GET', '/api/config');
  }

  /**
   * One page of chats, newest activity first, with the unread messages of a user: the archived ones, or the others.
   * `cursor` is the `nextCursor` of the previous page; `userId` is only needed while authentication is off, also for the
   * next two.
   */
  listChats({
    archived = false,
    ...page
  }: {
    limit?: number;
    cursor?: string | null;
    userId?: string | null;
    archived?: boolean;
  } = {}): Promise<ChatPage> {
    return this.#request('GET', '/api/chats', { query: { ...page, archived: archived ? 'true' : null } });
  }

  /** Opens the direct chat with another user: any two users have one. `actingUserId` only while authentication is off. */
  openDirectChat(userId: string, actingUserId: string): Promise<Chat> {
    return this.#request('POST', '/api/chats/direct', { body: { userId, actingUserId } });
  }

  /** Renames a chat; null removes its title. */
  renameChat(chatId: string, title: string | null): Promise<void> {
    return this.#request('PUT', pathOf(chatId, 'title'), { body: { title } });
  }

  /** Archives a chat for all members or, if `archived` is false, takes it back. An archived chat is read-only. */
  archiveChat(chatId: string, archived: boolean): Promise<void> {
    return this.#request(archived ? 'PUT' : 'DELETE', pathOf(chatId, 'archive'));
  }

  /** Deletes messages so many days after they were sent; 0: never; null: as the server is set. For owners. */
  setRetention(chatId: string, days: number | null): Promise<void> {
    return this.#request('PUT', pathOf(chatId, 'retention'), { body: { days } });
  }

  /** Deletes a chat with all its messages. */
  deleteChat(chatId: string): Promise<void> {
    return this.#request('DELETE', pathOf(chatId));
  }

  /** One chat. */
  getChat(chatId: string, userId?: string | null): Promise<Chat> {
    return this.#request('GET', pathOf(chatId), { query: { userId } });
  }

  /**
   * Records that the user has read a chat up to `seq`; a smaller one than before changes nothing. With the `epoch` of that
   * event, nothing changes either if a backup has replaced it.
   */
  markRead(chatId: string, seq: number, userId?: string | null, epoch?: string | null): Promise<void> {
    return this.#request('PUT', pathOf(chatId, 'read'), { query: { userId }, body: epoch ? { seq, epoch } : { seq } });
  }

  /** What notifies the user of a chat. `userId` only while authentication is off, also for the next five. */
  getNotifications(chatId: string, userId?: string | null): Promise<ChatNotifications> {
    return this.#request('GET', pathOf(chatId, 'notifications'), { query: { userId } });
  }

  /** Changes what notifies the user of a chat, on all devices. What is left out stays as it is. */
  changeNotifications(chatId: string, change: ChangeNotifications, userId?: string | null): Promise<ChatNotifications> {
    return this.#request('PATCH', pathOf(chatId, 'notifications'), { query: { userId }, body: change });
  }

  /** What notifies the user of chats without a setting. */
  getNotificationDefault(userId?: string | null): Promise<NotificationDefault> {
    return this.#request('GET', '/api/notifications', { query: { userId } });
  }

  /** Sets what notifies the user of chats without a setting. */
  setNotificationDefault(level: NotifyLevel, userId?: string | null): Promise<void> {
    return this.#request('PUT', '/api/notifications', { query: { userId }, body: { level } });
  }

  /** Sends pushes for the user to this browser: `subscription.toJSON()`; a repeat changes nothing. */
  addPushDevice(subscription: PushSubscriptionJSON, userId?: string | null): Promise<void> {
    return this.#request('PUT', '/api/push/devices', { query: { userId }, body: subscription });
  }

  /** Sends no more pushes for the user to this browser. */
  removePushDevice(endpoint: string, userId?: string | null): Promise<void> {
    return this.#request('DELETE', '/api/push/devices', { query: { endpoint, userId } });
  }

  /** Up to where each user has read a chat. */
  listReads(chatId: string): Promise<ReadCursors> {
    return this.#request('GET', pathOf(chatId, 'reads'));
  }

  /** Creates a chat. A chosen id needs a service token while authentication is on: otherwise code `forbidden`. */
  createChat(chat: CreateChat = {}): Promise<Chat> {
    return this.#request('POST', '/api/chats', { body: chat });
  }

  /** One page of messages, ascending by place: the newest page, or that before or after a place; of all or some authors. */
  listMessages(
    chatId: string,
    page: Omit<SearchFilter, 'chatId'> & { before?: number; after?: number; limit?: number } = {},
  ): Promise<MessagePage> {
    return this.#request('GET', pathOf(chatId, 'messages'), { query: page });
  }

  /** Messages of the user's chats, or of one chat, of all or some authors, that have all words of `q`, newest first. */
  search(q: string, page: SearchFilter & { limit?: number; cursor?: string } = {}): Promise<SearchPage> {
    return this.#request('GET', '/api/search', { query: { q, ...page } });
  }

  /** One page of events after a cursor (`after` is a seq, `epoch` its epoch). */
  listEvents(chatId: string, page: { after: number; epoch?: string; limit?: number }): Promise<EventPage> {
    return this.#request('GET', pathOf(chatId, 'events'), { query: page });
  }

  /** Stores a message. For a repeated `clientMsgId`, the server returns the message that it stored first. */
  sendMessage(message: SendMessage): Promise<Message> {
    return this.#request('POST', '/api/chat/messages', { body: message });
  }

  /** Replaces an own message by a new version, which gets a new answer. */
  editMessage(chatId: string, messageId: string, edit: EditMessage): Promise<Message> {
    return this.#request('PUT', pathOf(chatId, 'messages', messageId), { body: edit });
  }

  /** All versions of a message, oldest first. */
  listVersions(chatId: string, messageId: string): Promise<MessageVersions> {
    return this.#request('GET', pathOf(chatId, 'messages', messageId, 'versions'));
  }

  /** Deletes an own message in all its versions: its text is erased. */
  deleteMessage(chatId: string, messageId: string): Promise<void> {
    return this.#request('DELETE', pathOf(chatId, 'messages', messageId));
  }

  /** Adds a reaction or, if `adds` is false, takes it back. `userId` only while authentication is off. */
  react(
    chatId: string,
    messageId: string,
    emoji: string,
    { adds, userId }: { adds: boolean; userId?: string | null },
  ): Promise<void> {
    const path = pathOf(chatId, 'messages', messageId, 'reactions', emoji);
    return this.#request(adds ? 'PUT' : 'DELETE', path, { query: { userId } });
  }

  /** Pins a message or, if `adds` is false, ends that. */
  pin(chatId: string, messageId: string, adds: boolean): Promise<void> {
    return this.#request(adds ? 'PUT' : 'DELETE', pathOf(chatId, 'messages', messageId, 'pin'));
  }

  /** The pinned messages, in the order of the chat. */
  listPins(chatId: string): Promise<MessageList> {
    return this.#request('GET', pathOf(chatId, 'pins'));
  }

  /** The newest replies to a message, in the order of the chat. */
  listReplies(chatId: string, messageId: string): Promise<MessageList> {
    return this.#request('GET', pathOf(chatId, 'messages', messageId, 'replies'));
  }

  /** The members of a chat, ascending by user id, at most 1,000: those with an id above `after`. */
  listMembers(chatId: string, after: string | null = null): Promise<MemberPage> {
    return this.#request('GET', pathOf(chatId, 'members'), { query: { after } });
  }

  /** Adds a member; only owners add owners and moderators. */
  addMember(chatId: string, userId: string, role: MemberRole = 'member'): Promise<void> {
    return this.#request('PUT', pathOf(chatId, 'members', userId), { query: { role } });
  }

  /** Changes the role of a member, or mutes it for `mutedFor` seconds (0 ends a mute). */
  updateMember(chatId: string, userId: string, change: UpdateMember): Promise<void> {
    return this.#request('PATCH', pathOf(chatId, 'members', userId), { body: change });
  }

  /** Removes a member; the own user leaves. */
  removeMember(chatId: string, userId: string): Promise<void> {
    return this.#request('DELETE', pathOf(chatId, 'members', userId));
  }

  /** Reports a message to the moderators of its chat. */
  reportMessage(chatId: string, messageId: string, report: ReportMessage): Promise<void> {
    return this.#request('PUT', pathOf(chatId, 'messages', messageId, 'report'), { body: report });
  }

  /** The open reports of a chat, the oldest first; for its moderators. */
  listReports(chatId: string): Promise<ReportList> {
    return this.#request('GET', pathOf(chatId, 'reports'));
  }

  /** Closes a report. */
  closeReport(chatId: string, { messageId, userId }: Report): Promise<void> {
    return this.#request('DELETE', pathOf(chatId, 'reports', messageId, userId));
  }

  /** Users that may not become members. */
  listBans(chatId: string): Promise<BanList> {
    return this.#request('GET', pathOf(chatId, 'bans'));
  }

  /** Removes a user, which cannot return until `endBan`, or for `endsIn` seconds. */
  ban(chatId: string, userId: string, { endsIn }: { endsIn?: number } = {}): Promise<void> {
    return this.#request('PUT', pathOf(chatId, 'bans', userId), { query: { endsIn } });
  }

  /** Ends a ban. */
  endBan(chatId: string, userId: string): Promise<void> {
    return this.#request('DELETE', pathOf(chatId, 'bans', userId));
  }

  /** Creates an invite link. Its token is in this result only. */
  createInvite(chatId: string, invite: CreateInvite = {}): Promise<NewInvite> {
    return this.#request('POST', pathOf(chatId, 'invites'), { body: invite });
  }

  /** The valid invite links: all for owners and moderators, the own ones for members. */
  listInvites(chatId: string): Promise<InviteList> {
    return this.#request('GET', pathOf(chatId, 'invites'));
  }

  /** Revokes an invite link. */
  revokeInvite(chatId: string, inviteId: string): Promise<void> {
    return this.#request('DELETE', pathOf(chatId, 'invites', inviteId));
  }

  /** What an invite link leads to. */
  previewInvite(token: string): Promise<InvitePreview> {
    return this.#request('GET', `/api/invites/${encodeURIComponent(token)}`);
  }

  /** Joins a chat through an invite link; a repeat changes nothing. */
  acceptInvite(token: string): Promise<Chat> {
    return this.#request('POST', `/api/invites/${encodeURIComponent(token)}`);
  }

  /**
   * Uploads a file, which a message of this user may then have: pass it to `ChatSession.send`. Only in browsers.
   * It is removed after a day unless a message has it.
   */
  async uploadFile(chatId: string, file: Blob, options: UploadOptions = {}): Promise<Attachment> {
    const name = options.name ?? (file instanceof File ? file.name : '');
    const url = this.#base() + pathOf(chatId, 'files') + queryString({ name: name === '' ? 'file' : name });
    return upload({ url, token: await this.token(), body: file }, options);
  }

  /** Links to files of a chat, by id. Each can be used without a token until it expires. */
  async fileLinks(
    chatId: string,
    fileIds: readonly string[],
  ): Promise<{ links: ReadonlyMap<string, string>; expiresInMs: number }> {
    const query = new URLSearchParams(fileIds.map((id) => ['id', id])).toString();
    const found = await this.#request<FileLinks>('GET', `${pathOf(chatId, 'files')}?${query}`);
    const links = new Map(found.links.map(({ id, url }) => [id, this.#base() + url]));
    return { links, expiresInMs: found.expiresIn * 1000 };
  }

  /** Removes a file that this user has uploaded and not sent. */
  removeFile(chatId: string, fileId: string): Promise<void> {
    return this.#request('DELETE', pathOf(chatId, 'files', fileId));
  }

  /** Stops a turn, and returns it; one that is streaming ends soon after. */
  stopTurn(chatId: string, turnId: string): Promise<Turn> {
    return this.#request('POST', pathOf(chatId, 'turns', turnId, 'stop'));
  }

  /** Answers the question of a turn again, and returns the new turn. */
  regenerate(chatId: string, turnId: string): Promise<Turn> {
    return this.#request('POST', pathOf(chatId, 'turns', turnId, 'regenerate'));
  }

  /** Sets how a chat answers. Settings that are left out get their defaults. */
  setAi(chatId: string, settings: AiSettings): Promise<Chat> {
    return this.#request('PUT', pathOf(chatId, 'ai'), { body: settings });
  }

  /**
   * The access token; null for anonymous requests. Rejects with a TokenError.
   *
   * @internal
   */
  async token(): Promise<string | null> {
    const { getToken } = this.#options();
    if (getToken === null) return null;
    try {
      const expire = (): Error => new Error('no result within 10 s');
      return (await withTimeLimit(this.#runtime.clock, TOKEN_TIMEOUT_MS, getToken, expire)) ?? null;
    } catch (error) {
      throw new TokenError(`getToken: ${messageOf(error)}`, { cause: error });
    }
  }

  #base(): string {
    return apiBase({ apiUrl: this.#options().apiUrl, pageOrigin: this.#runtime.pageOrigin() });
  }

  async #request<T>(
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    { query, body }: { query?: Query; body?: unknown } = {},
  ): Promise<T> {
    const headers: Record<string, string> = { accept: 'application/json' };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const token = await this.token();
    if (token !== null) headers['authorization'] = `Bearer ${token}`;
    const abort = new AbortController();
    const exchange = async (): Promise<T> => {
      const response = await this.#runtime.fetch(this.#base() + path + queryString(query), {
        method,
        headers,
        signal: abort.signal,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      if (!response.ok)
        throw new ProblemError(response.status, await readProblem(response), response.headers.get('retry-after'));
      // 204: there is no body.
      return (response.status === 204 ? undefined : await response.json()) as T;
    };
    const expire = (): Error => {
      abort.abort();
      return new Error('no response within 20 s');
    };
    try {
      return await withTimeLimit(this.#runtime.clock, REQUEST_TIMEOUT_MS, exchange, expire);
    } catch (error) {
      if (error instanceof ProblemError) throw error;
      throw new NetworkError(`${method} ${path}: ${messageOf(error)}`, { cause: error });
    }
  }
}

function pathOf(...segments: string[]): string {
  return `/api/chats/${segments.map(encodeURIComponent).join('/')}`;
}

function queryString(query: Query = {}): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined) params.set(name, String(value));
  }
  const text = params.toString();
  return text === '' ? '' : `?${text}`;
}

async function readProblem(response: Response): Promise<Record<string, unknown>> {
  if (!(response.headers.get('content-type') ?? '').includes('json')) return {};
  // A truncated or invalid body is ignored; the status remains.
  const parsed: unknown = await response.json().catch(() => null);
  return typeof parsed === 'object' && parsed !== null ? { ...parsed } : {};
}
