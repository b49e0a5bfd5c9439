/** The versions of a message, fetched when the user switches to an earlier one. */
import type { ChatEntry } from '@roomcast/react';
import { useState } from 'react';

import { useChatActions } from '../conversation/actions.ts';

export interface Versions {
  /** The version to show. */
  readonly shown: ChatEntry;
  readonly number: number;
  readonly count: number;
  readonly show: (number: number) => void;
}

export function useVersions(message: ChatEntry): Versions {
  const actions = useChatActions();
  const count = message.version;
  const [choice, setChoice] = useState<{ readonly id: string; readonly entry: ChatEntry } | null>(null);
  // A new version is shown at once.
  const shown = choice?.id === message.id ? choice.entry : message;
  const show = (number: number): void => {
    if (number >= count) {
      setChoice(null);
      return;
    }
    actions.versions(message.id).then(
      (versions) => {
        const entry = versions.find(({ version }) => version === number);
        if (entry) setChoice({ id: message.id, entry });
      },
      // The newest version remains; the user can try again.
      () => undefined,
    );
  };
  return { shown, number: shown.version, count, show };
}
