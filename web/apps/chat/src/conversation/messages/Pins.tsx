/** The pinned messages of a chat, above its messages. They are read when the list is opened, and after each change. */
import type { ChatEntry } from '@roomcast/react';

import { useStrings } from '../../i18n/language.ts';
import { summaryOf } from '../../text/summary.ts';
import { useLoaded } from '../../ui/requests.ts';
import { useChatActions } from '../actions.ts';

interface Props {
  readonly messages: readonly ChatEntry[];
  readonly read: () => Promise<readonly ChatEntry[]>;
}

export function Pins({ messages, read }: Props) {
  const { marks: words, conversation } = useStrings();
  const { show } = useChatActions();
  // The key changes with each pin of a loaded message. A failure leaves the list as it is; the next change reads it again.
  const { value: pins } = useLoaded(read, messages.map(({ id, pinned }) => (pinned ? id : '')).join(''));
  if (pins === null || pins.length === 0) return null;
  return (
    <details className="pins" data-testid="pins">
      <summary>{words.pinned(pins.length)}</summary>
      <ul>
        {pins.map((pin) => (
          <li key={pin.id}>
            <button type="button" className="quote" onClick={() => void show(pin)}>
              <bdi className="quote__author">{pin.userId ?? conversation.ai}</bdi>{' '}
              <span dir="auto">{summaryOf(pin.content, pin.attachments[0]?.name)}</span>
            </button>
          </li>
        ))}
      </ul>
    </details>
  );
}
