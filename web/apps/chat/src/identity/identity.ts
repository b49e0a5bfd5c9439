/**
 * The user of this tab.
 *
 * Each tab has its own user, kept across a reload, so that two tabs can have two users. The name last used in any tab
 * is only a suggestion in the sign-in form. An access token is stored in the tab's session storage only.
 */
import { useSyncExternalStore } from 'react';

import { rules } from '../generated/rules.ts';
import { Listeners } from '../listeners.ts';
import { perTab, shared } from '../storage/storage.ts';
import { excessLength, toTitle } from '../text/input.ts';
import { readSubject } from './token.ts';

export interface Identity {
  readonly userId: string;
  /** Access token; null after a sign-in by name. */
  readonly token: string | null;
}

const TOKEN_KEY = 'token';
const NAME_KEY = 'name';
const SUGGESTION_KEY = 'last-name';

const listeners = new Listeners();
let snapshot: {
  readonly name: string | null;
  readonly token: string | null;
  readonly identity: Identity | null;
} | null = null;

function current(): Identity | null {
  const name = perTab.get(NAME_KEY);
  const token = perTab.get(TOKEN_KEY);
  // useSyncExternalStore needs the same object until the identity changes.
  if (snapshot?.name !== name || snapshot.token !== token) {
    snapshot = { name, token, identity: name === null ? null : { userId: name, token } };
  }
  return snapshot.identity;
}

export const identity = {
  get: current,
  /** Signs in by name. */
  setName: (name: string): void => {
    perTab.set(NAME_KEY, name);
    perTab.remove(TOKEN_KEY);
    shared.set(SUGGESTION_KEY, name);
    listeners.notify();
  },
  /** Signs in with an access token; its subject becomes the user id. */
  setToken: (token: string): void => {
    const userId = readSubject(token);
    if (userId === null) throw new TypeError('the text is not an access token');
    perTab.set(NAME_KEY, userId);
    perTab.set(TOKEN_KEY, token);
    listeners.notify();
  },
  /** Removes the token, which the server rejected. The user stays known until another one signs in. */
  removeToken: (): void => {
    perTab.remove(TOKEN_KEY);
    listeners.notify();
  },
  clear: (): void => {
    perTab.remove(NAME_KEY);
    perTab.remove(TOKEN_KEY);
    listeners.notify();
  },
  subscribe: listeners.subscribe,
};

export function useIdentity(): Identity | null {
  return useSyncExternalStore(identity.subscribe, identity.get);
}

/** The name last used in any tab, or an empty string. */
export function suggestedName(): string {
  return shared.get(SUGGESTION_KEY) ?? '';
}

export type NameError = 'required' | 'too-long' | 'invalid';

/** Why a trimmed name is invalid; null if it is valid. */
export function validateName(name: string): NameError | null {
  if (toTitle(name) === '') return 'required';
  if (excessLength(name, rules.userId) > 0) return 'too-long';
  // Characters that the API rejects, and bidirectional control characters, which could disguise a name.
  return !rules.userId.pattern.test(name) || /[\p{Surrogate}\p{Bidi_Control}]/u.test(name) ? 'invalid' : null;
}
