/** Finds the gateway: from the options, otherwise from the configuration that the API serves. */
import type { RoomcastApi } from './api.ts';

/** The guide's port; used outside a browser if neither URL option is set. */
const DEFAULT_GATEWAY_URL = 'http://localhost:3001';

export interface AddressOptions {
  gatewayUrl: string | null;
  apiUrl: string | null;
  pageOrigin: string | null;
}

/**
 * Finds the URL of the gateway.
 *
 * @returns `gatewayUrl` if set. Otherwise, from `GET /api/config`: the configured URL, or the API's host with the
 *   configured port, or the API's origin.
 * @throws NetworkError or ProblemError if the request for the configuration fails.
 */
export async function findGateway(options: AddressOptions, api: Pick<RoomcastApi, 'config'>): Promise<string> {
  if (options.gatewayUrl !== null) return options.gatewayUrl;
  if (options.apiUrl === null && options.pageOrigin === null) return DEFAULT_GATEWAY_URL;
  const { gateway } = await api.config();
  if (gateway.url !== null) return gateway.url;
  // A relative `apiUrl`, such as `/backend`, is resolved against the page.
  const url = new URL(options.apiUrl ?? '/', options.pageOrigin ?? undefined);
  if (gateway.port !== null) url.port = String(gateway.port);
  return url.origin;
}

/**
 * Rejects a URL with a path: socket.io-client would take the path for a namespace, and never connect.
 *
 * @throws TypeError if the URL has a path.
 */
export function checkGatewayUrl(gatewayUrl?: string): void {
  if (/[^/:]\/[^?]|^\/[^/]/.test(gatewayUrl ?? '')) throw new TypeError('gatewayUrl must be a URL without a path');
}
