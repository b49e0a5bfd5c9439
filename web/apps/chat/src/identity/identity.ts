/**
 * Who speaks in this tab.
 *
 * Each tab keeps its own (so that two tabs can be two people, and a reload changes nobody); the last name used in any
 * tab is only suggested. An access token never leaves the tab's storage.
 */
import { useSyncExternalStore } from 'react';

import { perTab, shared } from '../storage/storage.ts';
import { readToken } from './token.ts';

export interface Identity {
  readonly userId: string;
  /** Null while the server asks for none. */
  readonly token: string | null;
}

/** Longest user id in characters, as the API takes it. */
export const MAX_NAME = 128;

const TOKEN_KEY = 'token';
const NAME_KEY = 'name';
const SUGGESTION_KEY = 'last-name';

const listeners = new Set<() => void>();
let snapshot: {
  readonly name: string | null;
  readonly token: string | null;
  readonly identity: Identity | null;
} | null = null;

function current(): Identity | null {
  const name = perTab.get(NAME_KEY);
  const token = perTab.get(TOKEN_KEY);
  // React asks often and compares by identity.
  if (snapshot?.name !== name || snapshot.token !== token) {
    snapshot = { name, token, identity: name === null ? null : { userId: name, token } };
  }
  return snapshot.identity;
}

function notify(): void {
  for (const listener of listeners) listener();
}

export const identity = {
  get: current,
  /** Enters with a name of one's own choice. */
  setName: (name: string): void => {
    perTab.set(NAME_KEY, name);
    perTab.remove(TOKEN_KEY);
    shared.set(SUGGESTION_KEY, name);
    notify();
  },
  /** Enters with a token, which says the name. */
  setToken: (token: string): void => {
    const claims = readToken(token);
    if (claims === null) throw new TypeError('not an access token');
    perTab.set(NAME_KEY, claims.userId);
    perTab.set(TOKEN_KEY, token);
    notify();
  },
  clear: (): void => {
    perTab.remove(NAME_KEY);
    perTab.remove(TOKEN_KEY);
    notify();
  },
  subscribe: (listener: () => void): (() => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};

export function useIdentity(): Identity | null {
  return useSyncExternalStore(identity.subscribe, identity.get);
}

/** The name last used in any tab, else nothing. */
export function suggestedName(): string {
  return shared.get(SUGGESTION_KEY) ?? '';
}

export type NameFault = 'required' | 'too-long' | 'invalid';

/** What keeps a (trimmed) name from being one; null if it is fine. */
export function faultOf(name: string): NameFault | null {
  if (name === '') return 'required';
  if (Array.from(name).length > MAX_NAME) return 'too-long';
  // What the API refuses, and what would turn the text around it: nobody could see whom they read.
  return /[\p{Cc}\p{Zl}\p{Zp}\p{Surrogate}\p{Bidi_Control}]/u.test(name) ? 'invalid' : null;
}
