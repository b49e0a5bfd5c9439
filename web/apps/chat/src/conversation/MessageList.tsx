/** The scrolled list of a chat's messages: stays at its end, loads history upwards, says what came meanwhile. */
import type { ChatEntry } from '@roomcast/react';
import { type RefObject, useMemo, useRef } from 'react';

import { useStrings } from '../i18n/language.ts';
import { Icon } from '../ui/Icon.tsx';
import { Announcer } from './Announcer.tsx';
import { DaySection } from './DaySection.tsx';
import { arrange } from './timeline.ts';
import type { Latest } from './useLatest.ts';
import { useOlder } from './useOlder.ts';

interface Props {
  readonly messages: readonly ChatEntry[];
  readonly me: string;
  readonly online: boolean;
  readonly scroller: RefObject<HTMLDivElement | null>;
  readonly latest: Latest;
  readonly hasOlder: boolean;
  /** The last attempt failed: the reader may ask for another. */
  readonly olderFailed: boolean;
  readonly loadOlder: () => Promise<void>;
  readonly onRetry: (key: string) => void;
  readonly onDiscard: (key: string) => void;
}

export function MessageList(props: Props) {
  const { messages, me, online, scroller, latest, hasOlder, olderFailed, loadOlder, onRetry, onDiscard } = props;
  const { conversation: words } = useStrings();
  const sentinel = useRef<HTMLDivElement>(null);
  const days = useMemo(() => arrange(messages, me), [messages, me]);
  useOlder(scroller, sentinel, messages[0]?.key ?? null, hasOlder && !olderFailed ? loadOlder : null);

  return (
    <div className="messages">
      <div
        ref={scroller}
        className="messages__scroller"
        data-testid="message-list"
        onScroll={latest.onScroll}
        role="region"
        aria-label={words.messages}
        tabIndex={0}
      >
        <div className="messages__content">
          <div ref={sentinel} className="messages__edge">
            {olderFailed ? (
              <button type="button" className="link" onClick={() => void loadOlder()}>
                {words.olderFailed}
              </button>
            ) : hasOlder ? (
              words.loadingOlder
            ) : (
              words.beginning
            )}
          </div>
          {days.map((day) => (
            <DaySection key={day.key} day={day} online={online} onRetry={onRetry} onDiscard={onDiscard} />
          ))}
        </div>
      </div>
      {!latest.atEnd && (
        <button
          type="button"
          className={latest.unseen > 0 ? 'pill pill--news' : 'pill'}
          data-testid="to-latest"
          data-unseen={latest.unseen}
          aria-label={latest.unseen > 0 ? undefined : words.toLatest}
          onClick={latest.toLatest}
        >
          <Icon name="down" />
          {latest.unseen > 0 && words.newMessages(latest.unseen)}
        </button>
      )}
      <Announcer messages={messages} me={me} />
    </div>
  );
}
