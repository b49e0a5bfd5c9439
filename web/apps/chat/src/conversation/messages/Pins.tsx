/** The pinned messages of a chat, above its messages. They are read when the list is opened, and after each change. */
import type { ChatEntry } from '@roomcast/react';
import { useEffect, useState } from 'react';

import { useStrings } from '../../i18n/language.ts';
import { useChatActions } from '../actions.ts';

interface Props {
  readonly messages: readonly ChatEntry[];
  readonly read: () => Promise<readonly ChatEntry[]>;
}

export function Pins({ messages, read }: Props) {
  const { marks: words, conversation } = useStrings();
  const { show } = useChatActions();
  const [pins, setPins] = useState<readonly ChatEntry[]>([]);
  // Changes with each pin of a loaded message.
  const version = messages.map(({ id, pinned }) => (pinned ? id : '')).join('');
  useEffect(() => {
    let current = true;
    // A failure leaves the list as it is; the next change reads it again.
    read().then(
      (found) => {
        if (current) setPins(found);
      },
      () => undefined,
    );
    return () => {
      current = false;
    };
  }, [read, version]);
  if (pins.length === 0) return null;
  return (
    <details className="pins" data-testid="pins">
      <summary>{words.pinned(pins.length)}</summary>
      <ul>
        {pins.map((pin) => (
          <li key={pin.id}>
            <button type="button" className="quote" onClick={() => void show(pin)}>
              <bdi className="quote__author">{pin.userId ?? conversation.ai}</bdi> <span dir="auto">{pin.content}</span>
            </button>
          </li>
        ))}
      </ul>
    </details>
  );
}
