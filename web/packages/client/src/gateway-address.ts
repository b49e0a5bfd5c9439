/** Where the gateway is: told by the options or by the API, never guessed. */
import type { RoomcastApi } from './api.ts';

/** The guide's port, for programs outside of a browser that say nothing. */
const DEFAULT_GATEWAY_URL = 'http://localhost:3001';

export interface AddressOptions {
  gatewayUrl: string | null;
  apiUrl: string | null;
  pageOrigin: string | null;
}

/**
 * Finds the gateway's URL.
 *
 * @returns `gatewayUrl`; else what `GET /api/config` says: its URL, or the API's host with its port, or the API's origin
 * @throws NetworkError or ProblemError when the API has to be asked and does not answer
 */
export async function findGateway(options: AddressOptions, api: Pick<RoomcastApi, 'config'>): Promise<string> {
  if (options.gatewayUrl !== null) return options.gatewayUrl;
  if (options.apiUrl === null && options.pageOrigin === null) return DEFAULT_GATEWAY_URL;
  const { gateway } = await api.config();
  if (gateway.url !== null) return gateway.url;
  // A relative `apiUrl` such as `/backend` is taken from the page.
  const url = new URL(options.apiUrl ?? '/', options.pageOrigin ?? undefined);
  if (gateway.port !== null) url.port = String(gateway.port);
  return url.origin;
}
