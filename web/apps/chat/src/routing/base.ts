/** The path below which the server serves the page. */

/**
 * @param moduleUrl - URL of a module of the page. The build puts all of them into `assets/`; those of the dev server are
 *   elsewhere, and its page is at the root.
 * @returns A path with a slash at its end: `/`, or `/chat/` behind a proxy.
 */
export function basePathOf(moduleUrl: string): string {
  return /^(.*\/)assets\/[^/]+$/.exec(new URL(moduleUrl).pathname)?.[1] ?? '/';
}

export const BASE_PATH = basePathOf(import.meta.url);
