/** The REST API, typed. Every failure is a `NetworkError` or a `ProblemError`. */
import { NetworkError, ProblemError } from './errors.ts';
import type {
  Chat,
  ChatPage,
  Config,
  CreateChat,
  EventPage,
  Message,
  MessagePage,
  SendMessage,
} from './generated/contract.ts';
import type { Runtime } from './runtime.ts';

/** Longer than any answer takes; a hanging connection must not hold back the outbox for ever. */
const REQUEST_TIMEOUT_MS = 20_000;
/** Where the API listens by the guide's conventions, for programs outside of a browser. */
const DEFAULT_API_URL = 'http://localhost:3000';

export type TokenSource = () => string | null | Promise<string | null>;

export interface ApiOptions {
  /** Base URL of the API; null: the page's origin. */
  apiUrl: string | null;
  getToken: TokenSource | null;
}

type Query = Record<string, string | number | null | undefined>;

export class RoomcastApi {
  /** Asked at each request: options may change. */
  readonly #options: () => ApiOptions;
  readonly #runtime: Pick<Runtime, 'clock' | 'fetch' | 'pageOrigin'>;

  constructor(options: () => ApiOptions, runtime: Pick<Runtime, 'clock' | 'fetch' | 'pageOrigin'>) {
    this.#options = options;
    this.#runtime = runtime;
  }

  config(): Promise<Config> {
    return this.#request('GET', '/api/config');
  }

  listChats(page: { limit?: number; cursor?: string | null } = {}): Promise<ChatPage> {
    return this.#request('GET', '/api/chats', { query: page });
  }

  getChat(chatId: string): Promise<Chat> {
    return this.#request('GET', `/api/chats/${encodeURIComponent(chatId)}`);
  }

  createChat(chat: CreateChat = {}): Promise<Chat> {
    return this.#request('POST', '/api/chats', { body: chat });
  }

  /** Messages for display, ascending by seq: the newest page, or the one before or after a seq. */
  listMessages(chatId: string, page: { before?: number; after?: number; limit?: number } = {}): Promise<MessagePage> {
    return this.#request('GET', `/api/chats/${encodeURIComponent(chatId)}/messages`, { query: page });
  }

  /** Events after a cursor, for catching up. */
  listEvents(chatId: string, page: { after: number; epoch?: string; limit?: number }): Promise<EventPage> {
    return this.#request('GET', `/api/chats/${encodeURIComponent(chatId)}/events`, { query: page });
  }

  /** Stores a message; a repeat of its `clientMsgId` answers the first result. */
  sendMessage(message: SendMessage): Promise<Message> {
    return this.#request('POST', '/api/chat/messages', { body: message });
  }

  async #request<T>(
    method: 'GET' | 'POST',
    path: string,
    { query, body }: { query?: Query; body?: unknown } = {},
  ): Promise<T> {
    const { apiUrl, getToken } = this.#options();
    const base = apiUrl ?? this.#runtime.pageOrigin() ?? DEFAULT_API_URL;
    const url = `${base.replace(/\/+$/, '')}${path}${search(query)}`;
    const headers: Record<string, string> = { accept: 'application/json' };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const abort = new AbortController();
    const timer = this.#runtime.clock.setTimeout(
      () => abort.abort(new NetworkError(`${method} ${path}: no answer in time`)),
      REQUEST_TIMEOUT_MS,
    );
    try {
      const token = (await getToken?.()) ?? null;
      if (token !== null) headers['authorization'] = `Bearer ${token}`;
      const response = await this.#runtime.fetch(url, {
        method,
        headers,
        signal: abort.signal,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      if (!response.ok) throw new ProblemError(response.status, await readProblem(response));
      return (await response.json()) as T;
    } catch (error) {
      if (error instanceof ProblemError) throw error;
      throw new NetworkError(`${method} ${path}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    } finally {
      this.#runtime.clock.clearTimeout(timer);
    }
  }
}

function search(query: Query = {}): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined) params.set(name, String(value));
  }
  const text = params.toString();
  return text === '' ? '' : `?${text}`;
}

async function readProblem(response: Response): Promise<Record<string, unknown>> {
  if (!(response.headers.get('content-type') ?? '').includes('json')) return {};
  // A body that is cut short or not JSON after all: the status alone still says what happened.
  const parsed: unknown = await response.json().catch(() => null);
  return typeof parsed === 'object' && parsed !== null ? { ...parsed } : {};
}
