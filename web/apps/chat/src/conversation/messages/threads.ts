/** Threads: a message and the replies to it, and the replies to these. */
import type { ChatEntry } from '@roomcast/react';
import { createContext, useMemo } from 'react';

export interface Threads {
  /** The id of the first message of the thread of each reply. */
  readonly rootOf: ReadonlyMap<string, string>;
  /** The number of replies below each first message. */
  readonly sizes: ReadonlyMap<string, number>;
}

/** @param links - Pairs of a reply's id and the id of the message that it replies to, in the order of the chat. */
export function findThreads(links: readonly (readonly [string, string])[]): Threads {
  const rootOf = new Map<string, string>();
  const sizes = new Map<string, number>();
  for (const [id, replyTo] of links) {
    const root = rootOf.get(replyTo) ?? replyTo;
    rootOf.set(id, root);
    sizes.set(root, (sizes.get(root) ?? 0) + 1);
  }
  return { rootOf, sizes };
}

/** The threads of the loaded messages. A message that is loaded has all its replies loaded: they are newer. */
export function useThreads(messages: readonly ChatEntry[]): Threads {
  // Equal while no reply comes or goes, so that a growing answer renders no message again.
  const links = JSON.stringify(messages.flatMap(({ id, replyTo }) => (replyTo === null ? [] : [[id, replyTo]])));
  return useMemo(() => findThreads(JSON.parse(links) as [string, string][]), [links]);
}

export const ThreadsContext = createContext<Threads>(findThreads([]));
