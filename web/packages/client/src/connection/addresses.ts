/**
 * Addresses of the API and the gateway.
 *
 * Each may have a path, below which a proxy serves Roomcast: `https://host/chat` means `/chat/api/…` and
 * `/chat/socket.io/`. A path alone, such as `/chat`, is one of the page's origin.
 */
import type { RoomcastApi } from '../api.ts';

/** The guide's ports; used outside a browser if neither URL option is set. */
const DEFAULT_API_URL = 'http://localhost:3000';
const DEFAULT_GATEWAY_URL = 'http://localhost:3001';
/** Stands for the page's origin where only the form of a URL is checked. */
const ANY_ORIGIN = 'http://page.invalid';

/** Patterns, because `host:3000` and `host/chat` would be parsed, too: as a scheme and as a path. */
const FORMS = { apiUrl: /^(https?:\/\/|\/|$)[^?#]*$/i, gatewayUrl: /^((http|ws)s?:\/\/|\/|$)/i };

/** The URL options of a client; null if not set. */
export interface UrlOptions {
  apiUrl: string | null;
  gatewayUrl: string | null;
  /** Null outside a browser. */
  pageOrigin: string | null;
}

/** Arguments of socket.io-client, which takes a path in its URL for a namespace. */
export interface SocketAddress {
  /** Origin and query. */
  url: string;
  /** Path of the Socket.IO server. */
  path: string;
}

/**
 * Checks URL options before their first use.
 *
 * @throws TypeError if a URL cannot be one of an API or a gateway.
 */
export function checkUrls(options: { apiUrl?: string | undefined; gatewayUrl?: string | undefined }): void {
  if (options.apiUrl != null) apiBase({ apiUrl: options.apiUrl, pageOrigin: ANY_ORIGIN });
  if (options.gatewayUrl != null) socketAddress(options.gatewayUrl, ANY_ORIGIN);
}

/**
 * The URL to which the paths of the API, such as `/api/config`, are appended.
 *
 * @throws TypeError if the URL is invalid, or is a path and there is no page.
 */
export function apiBase({ apiUrl, pageOrigin }: Omit<UrlOptions, 'gatewayUrl'>): string {
  const url = parse('apiUrl', apiUrl ?? pageOrigin ?? DEFAULT_API_URL, pageOrigin);
  return url.origin + withoutEnd(url.pathname);
}

/**
 * Finds the gateway.
 *
 * @returns That of `gatewayUrl` if set. Otherwise, from `GET /api/config`: the configured URL, or the API's URL with the
 *   configured port, or the API's URL.
 * @throws NetworkError or ProblemError if the request for the configuration fails. TypeError if a URL is invalid.
 */
export async function findGateway(options: UrlOptions, api: Pick<RoomcastApi, 'config'>): Promise<SocketAddress> {
  const { apiUrl, gatewayUrl, pageOrigin } = options;
  if (gatewayUrl !== null) return socketAddress(gatewayUrl, pageOrigin);
  if (apiUrl === null && pageOrigin === null) return socketAddress(DEFAULT_GATEWAY_URL, null);
  const { gateway } = await api.config();
  if (gateway.url !== null) return socketAddress(gateway.url, pageOrigin);
  const url = new URL(apiBase({ apiUrl, pageOrigin }));
  if (gateway.port !== null) url.port = String(gateway.port);
  return socketAddress(url.href, pageOrigin);
}

function socketAddress(gatewayUrl: string, pageOrigin: string | null): SocketAddress {
  const url = parse('gatewayUrl', gatewayUrl, pageOrigin);
  return { url: `${url.protocol}//${url.host}${url.search}`, path: `${withoutEnd(url.pathname)}/socket.io/` };
}

/** The error does not repeat the text, since it may have a password. */
function parse(option: keyof typeof FORMS, text: string, pageOrigin: string | null): URL {
  try {
    const url = new URL(text, pageOrigin ?? undefined);
    if (FORMS[option].test(text) && url.username + url.password === '') return url;
  } catch {
    // Reported below.
  }
  const path = pageOrigin === null ? '' : ', or a path such as /chat';
  throw new TypeError(`${option} must be a URL such as https://host/chat${path}, without a user`);
}

function withoutEnd(path: string): string {
  return path.replace(/\/+$/, '');
}
