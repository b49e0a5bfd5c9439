/** One chat: its feed, what it shows, and what is sent to it. */
import type { RoomcastApi } from './api.ts';
import { type ChatLog, type ChatLogAction, EMPTY_LOG, keyOf, reduce } from './chat-log.ts';
import type { RoomcastError } from './errors.ts';
import { toRoomcastError } from './errors.ts';
import { Feed, type FeedDependencies, type Outcome } from './feed.ts';
import { type FeedInput, isSynced } from './feed-machine.ts';
import type { Message, Presence, Typing } from './generated/contract.ts';
import { Observable } from './observable.ts';
import { Outbox, type Outgoing } from './outbox.ts';
import { People, type PresenceSnapshot } from './people.ts';
import type { Runtime, TimerHandle } from './runtime.ts';
import { type ChatEntry, type ChatMessage, type LoadStatus, reviveMessage } from './types.ts';
import type { UnsentStore } from './unsent-store.ts';

/** How long the event of a stored message may take over the connection before it is fetched. */
const EVENT_GRACE_MS = 1_500;

export interface ChatSnapshot {
  readonly chatId: string;
  /** In the order that everybody sees; own ones that the server does not have yet come last. */
  readonly messages: readonly ChatEntry[];
  readonly status: LoadStatus;
  /** The last failure, also while it is tried again. */
  readonly error: RoomcastError | null;
  /** Joined and up to date. */
  readonly synced: boolean;
  readonly hasOlder: boolean;
  readonly loadingOlder: boolean;
}

export interface SessionDependencies extends Omit<FeedDependencies, 'runtime' | 'api'> {
  api: Pick<RoomcastApi, 'listMessages' | 'listEvents' | 'sendMessage'>;
  runtime: Pick<Runtime, 'clock' | 'random' | 'newId'>;
  unsent: UnsentStore | null;
  /** A message came that was not announced before. */
  announce: (message: ChatMessage) => void;
  /** Something is missing and cannot be had. */
  report: (message: string) => void;
  /** The session is in use from now on. */
  started: (session: ChatSession) => void;
}

export class ChatSession {
  readonly chatId: string;
  /** When somebody wanted it last, on the client's clock. */
  askedAt = 0;
  readonly #dependencies: SessionDependencies;
  readonly #feed: Feed;
  readonly #outbox: Outbox;
  readonly #people: People;
  readonly #snapshot: Observable<ChatSnapshot>;
  readonly #waiting = new Map<string, (entry: ChatEntry) => void>();
  /** What is in the outbox or has failed, by entry key. */
  readonly #unfinished = new Map<string, Outgoing>();
  #log: ChatLog = EMPTY_LOG;
  #userId: string | null = null;
  #followers = 0;
  /** Highest seq that `announce` was given, or that a snapshot covered. */
  #announced = 0;
  /** Runs while the event of an accepted message is awaited. */
  #grace: TimerHandle | null = null;

  constructor(chatId: string, dependencies: SessionDependencies) {
    this.chatId = chatId;
    this.#dependencies = dependencies;
    this.#feed = new Feed(
      chatId,
      dependencies,
      (outcome) => this.#take(outcome),
      () => this.#refresh(),
    );
    this.#outbox = new Outbox(dependencies.api, dependencies.runtime, {
      sent: (message) => this.#sent(message),
      failed: (outgoing, error) => this.#failed(outgoing, error),
    });
    this.#people = new People(dependencies.runtime.clock, (typing) => this.#tellTyping(typing));
    this.#snapshot = new Observable<ChatSnapshot>({
      chatId,
      messages: [],
      status: 'idle',
      error: null,
      synced: false,
      hasOlder: false,
      loadingOlder: false,
    });
  }

  // What a view uses.

  /** Shows the chat: it is loaded, joined and kept up to date until the last one unsubscribes. */
  readonly subscribe = (listener: () => void): (() => void) => {
    const unsubscribe = this.#snapshot.subscribe(listener);
    this.#start(true);
    return () => {
      unsubscribe();
      this.#stopSoon();
    };
  };

  /** The same object until something changed. */
  readonly getSnapshot = (): ChatSnapshot => this.#snapshot.value;

  /** Hears of each change of `getPresence()`; follows the chat meanwhile. */
  readonly subscribePresence = (listener: () => void): (() => void) => this.#observe(this.#people.presence, listener);

  /** Who is there; the same object until it changes. */
  readonly getPresence = (): PresenceSnapshot => this.#people.presence.value;

  /** Hears of each change of `getTyping()`; follows the chat meanwhile. */
  readonly subscribeTyping = (listener: () => void): (() => void) => this.#observe(this.#people.typing, listener);

  /** Others who write at the moment, the longest first; the same object until it changes. */
  readonly getTyping = (): readonly string[] => this.#people.typing.value;

  /**
   * Tells the others that one writes: true with each keystroke (they are told every 3 s at most), false when the field
   * is empty. It ends by itself after 4 s, and with `send`. Never fails: while there is no connection nobody is told.
   */
  readonly setTyping = (typing: boolean): void => this.#people.setTyping(typing);

  /**
   * Sends a message; its entry shows at once.
   *
   * @returns the entry as it ended: `sent`, or `failed` with its error. Never rejects.
   */
  send(content: string): Promise<ChatEntry> {
    const { runtime, unsent } = this.#dependencies;
    const outgoing: Outgoing = {
      chatId: this.chatId,
      role: 'USER',
      content,
      clientMsgId: runtime.newId(),
      userId: this.#userId,
    };
    unsent?.put(outgoing);
    this.#people.setTyping(false);
    return this.#queue(outgoing);
  }

  /** Sends a failed message again, under the same id: the server keeps it once whatever became of the first attempts. */
  retry(key: string): Promise<ChatEntry> {
    const outgoing = this.#unfinished.get(key);
    const entry = this.#log.outgoing.find((other) => other.key === key);
    if (outgoing === undefined || entry?.status !== 'failed') {
      return Promise.reject(new RangeError(`no failed message ${key} in chat ${this.chatId}`));
    }
    this.#dispatch({ type: 'resent', key });
    this.#outbox.add(outgoing);
    return this.#end(key);
  }

  /** Forgets a failed message. */
  discard(key: string): void {
    if (this.#log.outgoing.find((other) => other.key === key)?.status !== 'failed') return;
    this.#finish(key);
    this.#dispatch({ type: 'discarded', key });
  }

  /** Loads the page before the first message. Never rejects: a failure shows as `error`. */
  async loadOlder(): Promise<void> {
    const before = this.#log.confirmed[0]?.seq ?? null;
    if (before === null || !this.#log.hasOlder || this.#log.loadingOlder) return;
    this.#dispatch({ type: 'older-requested' });
    try {
      const { api, pageSize } = this.#dependencies;
      const page = await api.listMessages(this.chatId, { before, limit: pageSize });
      this.#dispatch({ type: 'older-loaded', before, page });
    } catch (error) {
      this.#dispatch({ type: 'older-failed', error: toRoomcastError(error) });
    }
  }

  // What the client uses.

  /** Joins without showing: new messages are announced, none are kept. */
  follow(): () => void {
    this.#followers += 1;
    this.#start(false);
    let following = true;
    return () => {
      if (!following) return;
      following = false;
      this.#followers -= 1;
      this.#stopSoon();
    };
  }

  input(input: FeedInput): void {
    if (input.type === 'closed') this.#people.lose();
    this.#feed.send(input);
  }

  takePresence(presence: Presence): void {
    if (this.isActive) this.#people.takePresence(presence);
  }

  takeTyping(typing: Typing): void {
    if (this.isActive && typing.userId !== this.#userId) this.#people.takeTyping(typing);
  }

  wake(): void {
    this.#feed.send({ type: 'wake' });
    this.#outbox.wake();
  }

  /** Joined, or about to be. */
  get isActive(): boolean {
    return this.#feed.state.active;
  }

  /** Nobody needs it: it may be forgotten. */
  get isIdle(): boolean {
    return !this.#feed.state.active && !this.#inUse && this.#unfinished.size === 0;
  }

  /** Who speaks from now on; brings back what they left unsent. Another person sees nothing of the first one's. */
  setUser(userId: string | null): void {
    if (userId === null || userId === this.#userId) return;
    const isSwitch = this.#userId !== null;
    this.#userId = userId;
    if (isSwitch) {
      this.close();
      this.#unfinished.clear();
      this.#announced = 0;
      this.#log = EMPTY_LOG;
      this.#people.forget();
      this.#feed.send({ type: 'restart' });
    }
    if (this.#feed.state.active) this.#restore();
    this.#refresh();
  }

  /** Gives up what is being sent; it stays in the storage. */
  close(): void {
    if (this.#grace !== null) this.#dependencies.runtime.clock.clearTimeout(this.#grace);
    this.#grace = null;
    this.#outbox.close();
  }

  get #inUse(): boolean {
    return this.#snapshot.observed || this.#followers > 0;
  }

  #start(shown: boolean): void {
    this.#dependencies.started(this);
    this.#feed.send({ type: 'start', shown });
    this.#restore();
  }

  #stopSoon(): void {
    // Deferred: React's StrictMode, and a move between two views of a chat, let go and take hold again at once.
    this.#dependencies.runtime.clock.setTimeout(() => {
      if (this.#inUse) return;
      this.#people.setTyping(false);
      this.#people.lose();
      this.#feed.send({ type: 'stop' });
    }, 0);
  }

  #observe<T>(observable: Observable<T>, listener: () => void): () => void {
    const { clock } = this.#dependencies.runtime;
    const unsubscribe = observable.subscribe(listener);
    let leave = (): void => undefined;
    // Deferred: a view that comes at the same moment loads the chat before it is joined.
    const timer = clock.setTimeout(() => (leave = this.follow()), 0);
    return () => {
      clock.clearTimeout(timer);
      unsubscribe();
      leave();
    };
  }

  #tellTyping(typing: boolean): boolean {
    if (!this.#feed.state.joined) return false;
    // With an ack, so that a refusal is told to nobody: a gateway of the guide's knows no such event.
    this.#dependencies.connection.request('typing', { chatId: this.chatId, typing }).catch(() => undefined);
    return true;
  }

  #restore(): void {
    if (this.#userId === null) return;
    for (const outgoing of this.#dependencies.unsent?.list(this.chatId, this.#userId) ?? []) {
      if (!this.#unfinished.has(keyOf(outgoing.clientMsgId, ''))) void this.#queue(outgoing);
    }
  }

  #queue(outgoing: Outgoing): Promise<ChatEntry> {
    const { clientMsgId, content, role, userId = null } = outgoing;
    const key = keyOf(clientMsgId, '');
    const { chatId } = this;
    this.#unfinished.set(key, outgoing);
    this.#dispatch({
      type: 'queued',
      entry: {
        key,
        id: clientMsgId,
        chatId,
        seq: null,
        role,
        content,
        time: new Date(),
        userId,
        clientMsgId,
        status: 'sending',
        error: null,
      },
    });
    const end = this.#end(key);
    this.#outbox.add(outgoing);
    return end;
  }

  #end(key: string): Promise<ChatEntry> {
    return new Promise((resolve) => this.#waiting.set(key, resolve));
  }

  #take(outcome: Outcome): void {
    switch (outcome.type) {
      case 'replace': {
        const { page, reset } = outcome;
        this.#confirm(page.messages);
        this.#dispatch({ type: 'replaced', page, reset });
        if (reset || this.#announced === 0) this.#announced = page.seq;
        else this.#announce(page.messages);
        return;
      }
      case 'deliver': {
        const messages = outcome.events
          .filter(({ event }) => event === 'new-msg')
          .map(({ data }) => data as unknown as Message);
        this.#confirm(messages);
        for (const { userId } of messages) if (userId !== null) this.#people.quiet(userId);
        this.#dispatch({ type: 'delivered', messages, upTo: outcome.events.at(-1)?.seq ?? 0 });
        this.#announce(messages);
        return;
      }
      case 'skipped': {
        const why = outcome.error === null ? '' : `: ${outcome.error.message}`;
        this.#dependencies.report(`events of chat ${this.chatId} up to ${outcome.to} could not be fetched${why}`);
      }
    }
  }

  #announce(messages: readonly Message[]): void {
    for (const message of messages) {
      if (message.seq <= this.#announced) continue;
      this.#announced = message.seq;
      this.#dependencies.announce(reviveMessage(message));
    }
  }

  /** Own messages that arrived by the feed, perhaps before the answer to their request. */
  #confirm(messages: readonly Message[]): void {
    if (this.#unfinished.size === 0) return;
    for (const message of messages) {
      if (message.clientMsgId === null) continue;
      const key = keyOf(message.clientMsgId, message.id);
      if (!this.#unfinished.has(key)) continue;
      this.#outbox.settle(message.clientMsgId);
      const entry = this.#log.outgoing.find((other) => other.key === key);
      this.#finish(key, entry && { ...entry, ...reviveMessage(message), status: 'sent', error: null });
    }
  }

  #sent(message: Message): void {
    const key = keyOf(message.clientMsgId, message.id);
    const { cursor } = this.#feed.state;
    this.#dispatch({ type: 'sent', message, upTo: this.#log.loaded ? (cursor?.seq ?? 0) : 0 });
    const entry =
      this.#log.outgoing.find((other) => other.key === key) ?? this.#log.confirmed.find((other) => other.key === key);
    this.#finish(key, entry);
  }

  /** Sees to it that the event of each accepted message comes, or that the message is found to be gone. */
  #awaitEvents(): void {
    const seq = this.#awaited;
    if (this.#grace !== null || seq === 0) return;
    this.#grace = this.#dependencies.runtime.clock.setTimeout(() => {
      this.#grace = null;
      const reached = this.#feed.state.cursor?.seq ?? 0;
      if (this.#awaited >= seq && reached < seq) this.#feed.send({ type: 'behind', seq });
      else this.#awaitEvents();
    }, EVENT_GRACE_MS);
  }

  /** The highest seq of an accepted message whose event has not come although nothing seems to be missing; or 0. */
  get #awaited(): number {
    const { state } = this.#feed;
    if (!isSynced(state) || state.cursor === null) return 0;
    const seq = Math.max(0, ...this.#log.outgoing.map((entry) => entry.seq ?? 0));
    return seq > state.cursor.seq ? seq : 0;
  }

  #failed(outgoing: Outgoing, error: RoomcastError): void {
    const key = keyOf(outgoing.clientMsgId, '');
    this.#dispatch({ type: 'send-failed', key, error });
    this.#resolve(
      key,
      this.#log.outgoing.find((other) => other.key === key),
    );
  }

  #finish(key: string, entry?: ChatEntry): void {
    const outgoing = this.#unfinished.get(key);
    if (outgoing) this.#dependencies.unsent?.remove(outgoing);
    this.#unfinished.delete(key);
    this.#resolve(key, entry);
  }

  #resolve(key: string, entry: ChatEntry | undefined): void {
    if (entry) this.#waiting.get(key)?.(entry);
    this.#waiting.delete(key);
  }

  #dispatch(action: ChatLogAction): void {
    this.#log = reduce(this.#log, action);
    this.#refresh();
  }

  #refresh(): void {
    const before = this.#snapshot.value;
    const { activity, error, active } = this.#feed.state;
    const { loaded, confirmed, outgoing, hasOlder, loadingOlder, olderError } = this.#log;
    const same = sameLines(before.messages, confirmed, outgoing);
    const next: ChatSnapshot = {
      chatId: this.chatId,
      messages: same ? before.messages : [...confirmed, ...outgoing],
      status: activity.kind === 'denied' ? 'error' : loaded ? 'ready' : active ? 'loading' : 'idle',
      error: error ?? olderError,
      synced: isSynced(this.#feed.state),
      hasOlder,
      loadingOlder,
    };
    if (Object.entries(next).some(([name, value]) => before[name as keyof ChatSnapshot] !== value))
      this.#snapshot.set(next);
    this.#awaitEvents();
  }
}

function sameLines(
  lines: readonly ChatEntry[],
  confirmed: readonly ChatEntry[],
  outgoing: readonly ChatEntry[],
): boolean {
  return (
    lines.length === confirmed.length + outgoing.length &&
    lines.every((line, index) => line === (confirmed[index] ?? outgoing[index - confirmed.length]))
  );
}
