/**
 * One chat of a client: its feed, its entries, its outbox, presence and typing.
 *
 * The file is long because the class is what applications use: one method for each thing that they do with a chat.
 */
import { Answers } from '../answers/answers.ts';
import type { RoomcastApi } from '../api.ts';
import {
  type ChatLog,
  type ChatLogAction,
  EMPTY_LOG,
  entryKey,
  isOver,
  messagesIn,
  outgoingKey,
  reduce,
  toEntry,
} from './chat-log.ts';
import { type RoomcastError, toRoomcastError } from '../errors.ts';
import { Feed, type FeedDependencies, type FeedOutput } from '../feed/feed.ts';
import { type FeedInput, isSynced, type SequencedEvent } from '../feed/feed-machine.ts';
import { FileLinks, type UploadOptions } from '../files.ts';
import type {
  AiChunk,
  AiEnd,
  AiSettings,
  AiStatus,
  Attachment,
  Chat,
  CustomEvent,
  EditMessage,
  Message,
  Presence,
  Turn,
  Typing,
} from '../generated/contract.ts';
import { Members, type MembersSnapshot } from './members.ts';
import { Observable, patch } from '../platform/observable.ts';
import { Outbox, type Outgoing } from './outbox.ts';
import { Participants, type PresenceSnapshot } from './participants.ts';
import type { Runtime } from '../platform/runtime.ts';
import { changeOf, type ChatSnapshot, INITIAL_CHAT } from './snapshot.ts';
import { Timer } from '../platform/timer.ts';
import { type ChatEntry, type ChatMessage, NO_MARKS, reviveMessage } from '../types.ts';
import type { UnsentStore } from './unsent-store.ts';

/** If the event of a stored message has not arrived after this time, it is fetched. */
const EVENT_GRACE_MS = 1_500;

/** Pages that `loadTo` loads: 2,000 messages with the usual size of a page. */
const MAX_PAGES = 40;

export interface SessionDependencies extends Omit<FeedDependencies, 'runtime' | 'api'> {
  api: RoomcastApi;
  outboxApi: Pick<RoomcastApi, 'sendMessage'>;
  runtime: Pick<Runtime, 'clock' | 'random' | 'newId'>;
  unsent: UnsentStore | null;
  /** Called for each unsent message that `unsent` could not store. */
  notStored: () => void;
  /** Called once for each new message. */
  announce: (message: ChatMessage) => void;
  /** Called once for each event of an application, in order. */
  announceCustom: (event: CustomEvent) => void;
  /** Called when events are missing and cannot be fetched. */
  report: (message: string) => void;
  /** Called for each new subscriber or follower. */
  started: (session: ChatSession) => void;
}

/** One chat, returned by `WebSocketClient.chat`. The chat is joined while it has subscribers or followers. */
export class ChatSession {
  readonly chatId: string;
  /**
   * Time of the last `WebSocketClient.chat` call, on the client's clock.
   *
   * @internal
   */
  requestedAt = 0;
  readonly #dependencies: SessionDependencies;
  readonly #feed: Feed;
  readonly #outbox: Outbox;
  readonly #participants: Participants;
  readonly #members: Members;
  readonly #answers: Answers;
  readonly #snapshot: Observable<ChatSnapshot>;
  /** Resolves the promise of `send` or `retry`, by entry key. */
  readonly #resolvers = new Map<string, (entry: ChatEntry) => void>();
  /** Messages in the outbox and failed messages, by entry key. */
  readonly #unsettled = new Map<string, Outgoing>();
  readonly #links: FileLinks;
  #log: ChatLog = EMPTY_LOG;
  #userId: string | null = null;
  #followers = 0;
  /** Highest seq that was announced or included in the first snapshot. */
  #announcedSeq = 0;
  /** Runs while a stored message waits for its event. */
  readonly #graceTimer: Timer;

  constructor(chatId: string, dependencies: SessionDependencies) {
    this.chatId = chatId;
    this.#dependencies = dependencies;
    this.#feed = new Feed(
      chatId,
      dependencies,
      (output) => this.#handleFeedOutput(output),
      () => this.#updateSnapshot(),
    );
    this.#outbox = new Outbox(dependencies.outboxApi, dependencies.runtime, {
      sent: (message) => this.#handleSent(message),
      failed: (outgoing, error) => this.#handleSendFailure(outgoing, error),
      held: (forMs) => patch(this.#snapshot, { sendsAgainAt: forMs === null ? null : new Date(Date.now() + forMs) }),
    });
    this.#participants = new Participants(dependencies.runtime.clock, (typing) => this.#sendTyping(typing));
    this.#members = new Members((after) => dependencies.api.listMembers(chatId, after));
    this.#answers = new Answers(chatId, dependencies, {
      joined: () => this.#feed.state.streamedFrom !== null,
      grown: (turnId, { content, parts }) => this.#updateLog({ type: 'grown', turnId, change: { content, parts } }),
    });
    this.#links = new FileLinks(chatId, dependencies.api, dependencies.runtime.clock);
    this.#graceTimer = new Timer(dependencies.runtime.clock);
    this.#snapshot = new Observable<ChatSnapshot>({ ...INITIAL_CHAT, chatId });
  }

  /**
   * Calls the listener after each change of `getSnapshot()`. The chat is loaded, joined and kept up to date until the
   * last subscriber unsubscribes.
   */
  readonly subscribe = (listener: () => void): (() => void) => {
    const unsubscribe = this.#snapshot.subscribe(listener);
    this.#start(true);
    return () => {
      unsubscribe();
      this.#stopIfUnused();
    };
  };

  /** The current state; the same object until it changes. */
  readonly getSnapshot = (): ChatSnapshot => this.#snapshot.value;

  /** Calls the listener after each change of `getPresence()`, and follows the chat until unsubscribed. */
  readonly subscribePresence = (listener: () => void): (() => void) =>
    this.#observe(this.#participants.presence, listener);

  /** Users who are online in the chat; the same object until it changes. */
  readonly getPresence = (): PresenceSnapshot => this.#participants.presence.value;

  /** Calls the listener after each change of `getTyping()`, and follows the chat until unsubscribed. */
  readonly subscribeTyping = (listener: () => void): (() => void) => this.#observe(this.#participants.typing, listener);

  /** Ids of other users who are typing, in the order in which they started; the same object until it changes. */
  readonly getTyping = (): readonly string[] => this.#participants.typing.value;

  /** Calls the listener after each change of `getMembers()`; loads, joins and updates the chat like `subscribe`. */
  readonly subscribeMembers = (listener: () => void): (() => void) => {
    const unsubscribe = this.#members.snapshot.subscribe(listener);
    const leave = this.subscribe(() => undefined);
    // Before the first messages, events are not received yet, and would be missed after the read.
    if (this.#log.loaded) this.#members.load();
    return () => {
      unsubscribe();
      leave();
    };
  };

  /** The members of the chat; the same object until it changes. One read serves all subscribers. */
  readonly getMembers = (): MembersSnapshot => this.#members.snapshot.value;

  /**
   * Sends typing notifications to the other users: call it with true for each keystroke, with false when the field is
   * empty. During typing, at most one notification is sent per 3 s. Typing ends 4 s after the last keystroke, and with
   * `send`. Never throws: without a connection, nothing is sent.
   */
  readonly setTyping = (typing: boolean): void => this.#participants.setTyping(typing);

  /**
   * Sends a message; the snapshot contains its entry at once.
   *
   * @param replyTo - Id of a message of the chat that it replies to.
   * @param attachments - Files that were uploaded to the chat by `uploadFile`; with one, the content may be empty.
   * @returns The final entry, with status `sent`, or with status `failed` and an `error`. Never rejects.
   */
  send(content: string, replyTo?: string | null, attachments: readonly Attachment[] = []): Promise<ChatEntry> {
    const { runtime, unsent, notStored } = this.#dependencies;
    const outgoing: Outgoing = {
      chatId: this.chatId,
      role: 'USER',
      content,
      clientMsgId: runtime.newId(),
      userId: this.#userId,
      // Left out without a reply: earlier servers refuse fields that they do not know.
      ...(replyTo && { replyTo }),
      ...(attachments.length > 0 && { attachments }),
    };
    if (unsent?.put(outgoing) === false) notStored();
    this.#participants.setTyping(false);
    return this.#enqueue(outgoing);
  }

  /**
   * Sends a failed message again, with the same `clientMsgId`, so that the server stores it once.
   *
   * @param key - Key of the entry.
   * @returns As for `send`. Rejects with a RangeError if the chat has no failed entry with this key.
   */
  retry(key: string): Promise<ChatEntry> {
    const outgoing = this.#unsettled.get(key);
    const entry = this.#findOutgoing(key);
    if (outgoing === undefined || entry?.status !== 'failed') {
      return Promise.reject(new RangeError(`no failed message ${key} in chat ${this.chatId}`));
    }
    this.#updateLog({ type: 'resent', key });
    this.#outbox.add(outgoing);
    return this.#whenSettled(key);
  }

  /** Removes a failed message. Any other entry is left unchanged. */
  discard(key: string): void {
    if (this.#findOutgoing(key)?.status !== 'failed') return;
    this.#settle(key);
    this.#updateLog({ type: 'discarded', key });
  }

  /**
   * Stops an answer, or a turn that is queued; its text so far is kept. A turn that has ended stays as it is.
   *
   * @param turnId - Default: the active turn; without one, nothing happens.
   * @returns Resolves when the stop is stored; rejects with a `RoomcastError`.
   */
  async stop(turnId: string | undefined = this.#snapshot.value.activeTurn?.id): Promise<void> {
    if (turnId === undefined) return;
    const { api, connection } = this.#dependencies;
    try {
      await connection.request('ai-stop', { chatId: this.chatId, turnId });
    } catch (error) {
      if (!toRoomcastError(error).retryable) throw error;
      await api.stopTurn(this.chatId, turnId);
    }
  }

  /**
   * Answers the question of a turn again; the new answer replaces the earlier one at its place.
   *
   * @returns The new turn; rejects with a `RoomcastError`.
   */
  regenerate(turnId: string): Promise<Turn> {
    return this.#dependencies.api.regenerate(this.chatId, turnId);
  }

  /**
   * Replaces an own message by a new version, which gets a new answer.
   *
   * @returns The new version; rejects with a `RoomcastError`.
   */
  async edit(messageId: string, content: string, removeFiles: readonly string[] = []): Promise<ChatEntry> {
    const { api, runtime } = this.#dependencies;
    // The generated type has a tuple of each length.
    const removed = [...removeFiles] as NonNullable<EditMessage['removeFiles']>;
    const change: EditMessage = { content, clientMsgId: runtime.newId() };
    if (removed.length > 0) change.removeFiles = removed;
    return toEntry(await api.editMessage(this.chatId, messageId, change));
  }

  /** Deletes an own message in all its versions; rejects with a `RoomcastError`. */
  delete(messageId: string): Promise<void> {
    return this.#dependencies.api.deleteMessage(this.chatId, messageId);
  }

  /** Adds a reaction of the user or, if `adds` is false, takes it back; rejects with a `RoomcastError`. */
  react(messageId: string, emoji: string, adds = true): Promise<void> {
    return this.#dependencies.api.react(this.chatId, messageId, emoji, { adds, userId: this.#userId });
  }

  /** Pins a message or, if `adds` is false, ends that; rejects with a `RoomcastError`. */
  pin(messageId: string, adds = true): Promise<void> {
    return this.#dependencies.api.pin(this.chatId, messageId, adds);
  }

  /** The pinned messages, in the order of the chat; rejects with a `RoomcastError`. */
  async pins(): Promise<readonly ChatEntry[]> {
    return (await this.#dependencies.api.listPins(this.chatId)).messages.map(toEntry);
  }

  /** The newest replies to a message, in the order of the chat; rejects with a `RoomcastError`. */
  async replies(messageId: string): Promise<readonly ChatEntry[]> {
    return (await this.#dependencies.api.listReplies(this.chatId, messageId)).messages.map(toEntry);
  }

  /** Uploads a file, for `send`. It is removed after a day unless a message has it. Rejects with a `RoomcastError`. */
  uploadFile(file: Blob, options?: UploadOptions): Promise<Attachment> {
    return this.#dependencies.api.uploadFile(this.chatId, file, options);
  }

  /** Removes a file that was uploaded and not sent; rejects with a `RoomcastError`. */
  removeFile(fileId: string): Promise<void> {
    return this.#dependencies.api.removeFile(this.chatId, fileId);
  }

  /**
   * The link of a file, valid for at least a minute; null if the file does not exist any more. Rejects with a
   * `RoomcastError`. Links that are asked for together cost one request.
   */
  fileUrl(fileId: string): Promise<string | null> {
    return this.#links.url(fileId);
  }

  /** All versions of a message, oldest first; rejects with a `RoomcastError`. */
  async versions(messageId: string): Promise<readonly ChatEntry[]> {
    const { versions } = await this.#dependencies.api.listVersions(this.chatId, messageId);
    return versions.map(toEntry);
  }

  /** Sets how the chat answers. Settings that are left out get their defaults. Rejects with a `RoomcastError`. */
  setAi(settings: AiSettings): Promise<Chat> {
    return this.#dependencies.api.setAi(this.chatId, settings);
  }

  /** Loads the page before the first message. Never rejects: `error` holds a failure. */
  async loadOlder(): Promise<void> {
    const before = this.#log.confirmed[0]?.place ?? null;
    if (before === null || !this.#log.hasOlder || this.#log.loadingOlder) return;
    this.#updateLog({ type: 'older-requested' });
    try {
      const { api, pageSize } = this.#dependencies;
      const page = await api.listMessages(this.chatId, { before, limit: pageSize });
      this.#updateLog({ type: 'older-loaded', before, page });
    } catch (error) {
      this.#updateLog({ type: 'older-failed', error: toRoomcastError(error) });
    }
  }

  /** Loads older pages until the message at a place is loaded, at most `MAX_PAGES`. False: it is not. */
  async loadTo(place: number): Promise<boolean> {
    for (let page = 0; page < MAX_PAGES; page++) {
      const before = this.#log.confirmed[0]?.place ?? null;
      if (before === null || before <= place) break;
      await this.loadOlder();
      if (this.#log.confirmed[0]?.place === before) break; // a failure, or another load is running
    }
    return this.#log.confirmed.some((message) => message.place === place);
  }

  /**
   * Joins the chat without loading it: handlers of `new-msg` receive new messages, but the messages are not kept.
   *
   * @returns A function that stops following.
   */
  follow(): () => void {
    this.#followers += 1;
    this.#start(false);
    let following = true;
    return () => {
      if (!following) return;
      following = false;
      this.#followers -= 1;
      this.#stopIfUnused();
    };
  }

  /** @internal */
  dispatch(input: FeedInput): void {
    if (input.type === 'closed') this.#participants.markStale();
    this.#feed.dispatch(input);
  }

  /** @internal */
  receive(event: SequencedEvent): void {
    if (event.event !== 'ai-end') {
      this.dispatch({ type: 'live', event });
      return;
    }
    const message = this.#answers.complete(event.data as unknown as AiEnd);
    // Without all chunks, the whole message is fetched, like any event that is missing.
    if (message === null) this.dispatch({ type: 'behind', seq: event.seq });
    else this.dispatch({ type: 'live', event: { ...event, event: 'new-msg', data: { ...message } } });
  }

  /**
   * Shows a message that is not stored, and says whether it is not known as a stored one.
   *
   * @internal
   */
  receivePublished(message: ChatMessage): boolean {
    const { id, role, content, time, userId = null } = message;
    if (this.#log.confirmed.some((entry) => entry.id === id)) return false;
    this.#updateLog({
      type: 'published',
      entry: {
        ...NO_MARKS,
        key: `l:${id}`,
        id,
        chatId: this.chatId,
        seq: null,
        role,
        content,
        time,
        userId,
        clientMsgId: null,
        place: null,
        version: 1,
        turn: null,
        parts: null,
        status: 'live',
        error: null,
      },
    });
    return true;
  }

  /** @internal */
  receiveChunks(chunk: AiChunk): void {
    if (!this.isActive || this.#log.confirmed.some(({ turn }) => turn?.id === chunk.turnId && isOver(turn))) return;
    this.#answers.receive(chunk);
  }

  /** @internal */
  applyPresence(presence: Presence): void {
    if (this.isActive) this.#participants.applyPresence(presence);
  }

  /** @internal */
  applyTyping(typing: Typing): void {
    if (this.isActive && typing.userId !== this.#userId) this.#participants.applyTyping(typing);
  }

  /**
   * Retries now, because the network is back or the page became visible.
   *
   * @internal
   */
  wake(): void {
    this.#feed.dispatch({ type: 'wake' });
    this.#outbox.wake();
  }

  /**
   * True if the chat is joined, or will be joined as soon as there is a connection.
   *
   * @internal
   */
  get isActive(): boolean {
    return this.#feed.state.active;
  }

  /**
   * True if the session is not in use and has no unsent messages: the client may evict it.
   *
   * @internal
   */
  get isIdle(): boolean {
    return !this.#feed.state.active && !this.#inUse && this.#unsettled.size === 0;
  }

  /**
   * Sets the own user and restores that user's unsent messages. A change of user discards all previous state.
   *
   * @internal
   */
  setUser(userId: string | null): void {
    if (userId === null || userId === this.#userId) return;
    if (this.#userId !== null) this.#discard();
    this.#userId = userId;
    if (this.#feed.state.active) this.#restoreUnsent();
    // The views stay subscribed after `forget`.
    else if (this.#inUse) this.#start(this.#snapshot.hasListeners);
    this.#updateSnapshot();
  }

  /**
   * Discards all state of the user, and loads nothing before the next `setUser`.
   *
   * @internal
   */
  forget(): void {
    this.#feed.dispatch({ type: 'stop' });
    this.#discard();
    this.#userId = null;
    this.#updateSnapshot();
  }

  /**
   * Ids of the messages that the server has not stored yet, including failed ones.
   *
   * @internal
   */
  get unsentIds(): readonly string[] {
    return [...this.#unsettled.values()].map(({ clientMsgId }) => clientMsgId);
  }

  /**
   * Fails the messages in the outbox; they remain in the storage.
   *
   * @internal
   */
  close(): void {
    this.#graceTimer.cancel();
    this.#outbox.close();
  }

  #discard(): void {
    this.close();
    this.#unsettled.clear();
    this.#announcedSeq = 0;
    this.#log = EMPTY_LOG;
    this.#answers.clear();
    this.#participants.reset();
    this.#members.reset();
    this.#feed.dispatch({ type: 'restart' });
  }

  get #inUse(): boolean {
    return this.#snapshot.hasListeners || this.#followers > 0;
  }

  #start(shown: boolean): void {
    this.#dependencies.started(this);
    this.#feed.dispatch({ type: 'start', shown });
    this.#restoreUnsent();
  }

  #stopIfUnused(): void {
    // Deferred, because StrictMode and navigation between views unsubscribe and subscribe within one task.
    this.#dependencies.runtime.clock.setTimeout(() => {
      if (this.#inUse) return;
      this.#participants.setTyping(false);
      this.#participants.markStale();
      this.#feed.dispatch({ type: 'stop' });
    }, 0);
  }

  #observe<T>(observable: Observable<T>, listener: () => void): () => void {
    const { clock } = this.#dependencies.runtime;
    const unsubscribe = observable.subscribe(listener);
    let leave = (): void => undefined;
    // Deferred, so that a view that subscribes within the same task loads the chat before the join.
    const timer = clock.setTimeout(() => (leave = this.follow()), 0);
    return () => {
      clock.clearTimeout(timer);
      unsubscribe();
      leave();
    };
  }

  #sendTyping(typing: boolean): boolean {
    if (!this.#feed.state.joined) return false;
    // With an ack, the gateway reports a rejection in the ack and not as an `error` event. Errors are ignored, because
    // the guide's gateway does not know this event.
    this.#dependencies.connection.request('typing', { chatId: this.chatId, typing }).catch(() => undefined);
    return true;
  }

  #restoreUnsent(): void {
    if (this.#userId === null) return;
    for (const outgoing of this.#dependencies.unsent?.list(this.chatId, this.#userId) ?? []) {
      if (!this.#unsettled.has(outgoingKey(outgoing.clientMsgId))) void this.#enqueue(outgoing);
    }
  }

  #enqueue(outgoing: Outgoing): Promise<ChatEntry> {
    const { clientMsgId, content, role, userId = null, replyTo = null, attachments = [] } = outgoing;
    const key = outgoingKey(clientMsgId);
    const { chatId } = this;
    this.#unsettled.set(key, outgoing);
    this.#updateLog({
      type: 'queued',
      entry: {
        ...NO_MARKS,
        replyTo,
        attachments,
        key,
        id: clientMsgId,
        chatId,
        seq: null,
        role,
        content,
        time: new Date(),
        userId,
        clientMsgId,
        place: null,
        version: 1,
        turn: null,
        parts: null,
        status: 'sending',
        error: null,
      },
    });
    const settled = this.#whenSettled(key);
    this.#outbox.add(outgoing);
    return settled;
  }

  #whenSettled(key: string): Promise<ChatEntry> {
    return new Promise((resolve) => this.#resolvers.set(key, resolve));
  }

  #handleFeedOutput(output: FeedOutput): void {
    switch (output.type) {
      case 'replace': {
        const { page, reset } = output;
        this.#confirmOwn(page.messages);
        this.#updateLog({ type: 'replaced', page, reset });
        this.#members.invalidate();
        if (reset || this.#announcedSeq === 0) this.#announcedSeq = page.seq;
        else this.#announce(page.messages);
        this.#resume(this.#log.turns);
        return;
      }
      case 'deliver': {
        const { events } = output;
        const messages = messagesIn(events);
        this.#confirmOwn(messages);
        for (const { userId } of messages) if (userId !== null) this.#participants.endTyping(userId);
        this.#updateLog({ type: 'delivered', events });
        this.#members.apply(events, this.#userId);
        this.#followTurns(events);
        this.#announce(messages);
        for (const { event, data } of events)
          if (event === 'custom') this.#dependencies.announceCustom(data as unknown as CustomEvent);
        return;
      }
      case 'streams':
        this.#resume(this.#log.turns);
        return;
      case 'skipped': {
        this.#members.invalidate();
        const reason = output.error === null ? '' : `: ${output.error.message}`;
        this.#dependencies.report(`events of chat ${this.chatId} up to ${output.to} could not be fetched${reason}`);
      }
    }
  }

  #followTurns(events: readonly SequencedEvent[]): void {
    for (const { event, seq, data } of events) {
      const turn = (event === 'new-msg' || event === 'ai-status') && (data as unknown as AiStatus).turn;
      if (!turn) continue;
      if (isOver(turn)) this.#answers.drop(turn.id);
      // Started before the join: chunks may have been missed.
      else if (seq <= (this.#feed.state.streamedFrom ?? 0)) this.#resume([turn]);
      else this.#answers.touch(turn.id);
    }
  }

  #resume(turns: readonly Turn[]): void {
    for (const { id, status } of turns) {
      if (status !== 'streaming') continue;
      this.#answers.touch(id);
      this.#answers.resume(id);
    }
  }

  #announce(messages: readonly Message[]): void {
    for (const message of messages.toSorted((a, b) => a.seq - b.seq)) {
      const { seq, role, turn, content, parts } = message;
      // An answer that has not ended, or that ended without a text.
      const isOpen = role === 'AI' && turn !== null && (!isOver(turn) || (content === '' && !parts?.length));
      if (seq <= this.#announcedSeq || isOpen) continue;
      this.#announcedSeq = seq;
      this.#dependencies.announce(reviveMessage(message));
    }
  }

  /** Settles own messages that arrived as events or in a page, possibly before the response to their request. */
  #confirmOwn(messages: readonly Message[]): void {
    if (this.#unsettled.size === 0) return;
    for (const message of messages) {
      if (message.clientMsgId === null) continue;
      const key = entryKey(message);
      if (!this.#unsettled.has(key)) continue;
      this.#outbox.confirm(message.clientMsgId);
      const entry = this.#findOutgoing(key);
      this.#settle(key, entry && { ...entry, ...reviveMessage(message), status: 'sent', error: null });
    }
  }

  #handleSent(message: Message): void {
    const key = entryKey(message);
    const { cursor } = this.#feed.state;
    this.#updateLog({ type: 'sent', message, upTo: this.#log.loaded ? (cursor?.seq ?? 0) : 0 });
    this.#settle(key, this.#findOutgoing(key) ?? this.#log.confirmed.find((entry) => entry.key === key));
  }

  /** Fetches the event of a stored own message if it does not arrive in time. The server may have lost the message. */
  #awaitEvents(): void {
    const seq = this.#awaitedSeq;
    if (this.#graceTimer.isRunning || seq === 0) return;
    this.#graceTimer.start(() => {
      const reached = this.#feed.state.cursor?.seq ?? 0;
      if (this.#awaitedSeq >= seq && reached < seq) this.#feed.dispatch({ type: 'behind', seq });
      else this.#awaitEvents();
    }, EVENT_GRACE_MS);
  }

  /** Highest seq of the stored own messages whose event has not arrived; 0 without such a message, or if not synced. */
  get #awaitedSeq(): number {
    const { state } = this.#feed;
    if (!isSynced(state) || state.cursor === null) return 0;
    const seq = Math.max(0, ...this.#log.outgoing.map((entry) => entry.seq ?? 0));
    return seq > state.cursor.seq ? seq : 0;
  }

  #handleSendFailure(outgoing: Outgoing, error: RoomcastError): void {
    const key = outgoingKey(outgoing.clientMsgId);
    this.#updateLog({ type: 'send-failed', key, error });
    this.#resolve(key, this.#findOutgoing(key));
  }

  #findOutgoing(key: string): ChatEntry | undefined {
    return this.#log.outgoing.find((entry) => entry.key === key);
  }

  #settle(key: string, entry?: ChatEntry): void {
    const outgoing = this.#unsettled.get(key);
    if (outgoing) this.#dependencies.unsent?.remove(outgoing);
    this.#unsettled.delete(key);
    this.#resolve(key, entry);
  }

  #resolve(key: string, entry: ChatEntry | undefined): void {
    if (entry) this.#resolvers.get(key)?.(entry);
    this.#resolvers.delete(key);
  }

  #updateLog(action: ChatLogAction): void {
    this.#log = reduce(this.#log, action);
    this.#updateSnapshot();
  }

  #updateSnapshot(): void {
    patch(this.#snapshot, changeOf(this.#snapshot.value.messages, this.#log, this.#feed.state));
    this.#awaitEvents();
  }
}
