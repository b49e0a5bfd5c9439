/** Files of chats: upload with progress, and links that are requested together and kept until they expire. */
import type { RoomcastApi } from './api.ts';
import { NetworkError, ProblemError } from './errors.ts';
import type { Attachment } from './generated/contract.ts';
import type { Clock } from './platform/runtime.ts';

/** Links of one request; the server's limit. */
const MAX_LINKS = 50;
/** A link is replaced this long before it expires, so that a download can begin. */
const MARGIN_MS = 60_000;

export interface UploadOptions {
  /** Default: the name of a `File`. */
  name?: string;
  /** Receives the sent part of the file, from 0 to 1. */
  onProgress?: (part: number) => void;
  /** Cancels the upload, which then rejects with a `NetworkError`. */
  signal?: AbortSignal;
}

/** @internal */
export interface UploadRequest {
  readonly url: string;
  readonly token: string | null;
  readonly body: Blob;
}

/** Sends a file. `fetch` reports no progress of a request. */
export function upload(
  { url, token, body }: UploadRequest,
  { onProgress, signal }: Pick<UploadOptions, 'onProgress' | 'signal'>,
): Promise<Attachment> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const cancel = (): void => request.abort();
    const fail = (reason: string): void => reject(new NetworkError(`upload: ${reason}`));
    request.open('POST', url);
    request.setRequestHeader('content-type', 'application/octet-stream');
    request.setRequestHeader('accept', 'application/json');
    if (token !== null) request.setRequestHeader('authorization', `Bearer ${token}`);
    request.upload.onprogress = ({ loaded, total }) => onProgress?.(total === 0 ? 1 : loaded / total);
    request.onload = () => {
      const answer = parse(request.responseText);
      if (request.status === 201 && answer !== null) resolve(answer as unknown as Attachment);
      else reject(new ProblemError(request.status, answer ?? {}, request.getResponseHeader('retry-after')));
    };
    request.onerror = () => fail('no response');
    request.onabort = () => fail('cancelled');
    request.onloadend = () => signal?.removeEventListener('abort', cancel);
    if (signal?.aborted === true) {
      fail('cancelled');
      return;
    }
    signal?.addEventListener('abort', cancel);
    request.send(body);
  });
}

function parse(text: string): Record<string, unknown> | null {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null ? { ...parsed } : null;
  } catch {
    return null;
  }
}

/** The links of one chat. */
export class FileLinks {
  readonly #known = new Map<string, { url: Promise<string | null>; until: number }>();
  readonly #chatId: string;
  readonly #api: Pick<RoomcastApi, 'fileLinks'>;
  readonly #clock: Pick<Clock, 'now'>;
  #waiting = new Map<string, (links: Promise<ReadonlyMap<string, string>>) => void>();

  constructor(chatId: string, api: Pick<RoomcastApi, 'fileLinks'>, clock: Pick<Clock, 'now'>) {
    this.#chatId = chatId;
    this.#api = api;
    this.#clock = clock;
  }

  /** The link of a file; null if it does not exist any more. Rejects with a `RoomcastError`. */
  url(fileId: string): Promise<string | null> {
    const known = this.#known.get(fileId);
    if (known && known.until > this.#clock.now()) return known.url;
    const links = new Promise<ReadonlyMap<string, string>>((resolve) => {
      if (this.#waiting.size === 0) queueMicrotask(() => this.#request());
      this.#waiting.set(fileId, resolve);
    });
    const url = links.then((found) => found.get(fileId) ?? null);
    this.#known.set(fileId, { url, until: Infinity });
    url.catch(() => this.#known.delete(fileId));
    return url;
  }

  #request(): void {
    const waiting = [...this.#waiting];
    this.#waiting = new Map();
    for (let first = 0; first < waiting.length; first += MAX_LINKS) {
      const page = waiting.slice(first, first + MAX_LINKS);
      const links = this.#load(page.map(([fileId]) => fileId));
      for (const [, resolve] of page) resolve(links);
    }
  }

  async #load(fileIds: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const { links, expiresInMs } = await this.#api.fileLinks(this.#chatId, fileIds);
    const until = this.#clock.now() + expiresInMs - MARGIN_MS;
    for (const fileId of fileIds) {
      const known = this.#known.get(fileId);
      if (known) this.#known.set(fileId, { ...known, until });
    }
    return links;
  }
}
