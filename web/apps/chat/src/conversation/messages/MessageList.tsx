/** The scrollable message list: stays at the newest message, loads history at the top, and counts unseen messages. */
import type { ChatEntry } from '@roomcast/react';
import { type RefObject, useMemo, useRef } from 'react';

import { useStrings } from '../../i18n/language.ts';
import { Icon } from '../../ui/Icon.tsx';
import { Announcer } from './Announcer.tsx';
import { DaySection } from './DaySection.tsx';
import { onMessageKey } from './messageKeys.ts';
import { groupByDay } from './timeline.ts';
import { useLoadOlder } from './useLoadOlder.ts';
import type { ScrollAnchor } from './useScrollAnchor.ts';

interface Props {
  readonly messages: readonly ChatEntry[];
  readonly me: string;
  readonly online: boolean;
  readonly scroller: RefObject<HTMLDivElement | null>;
  readonly anchor: ScrollAnchor;
  readonly hasOlder: boolean;
  /** Loading history failed; the user can retry. */
  readonly olderFailed: boolean;
  readonly loadOlder: () => Promise<void>;
}

export function MessageList(props: Props) {
  const { messages, me, online, scroller, anchor, hasOlder, olderFailed, loadOlder } = props;
  const { conversation: words } = useStrings();
  const sentinel = useRef<HTMLDivElement>(null);
  const days = useMemo(() => groupByDay(messages, me), [messages, me]);
  useLoadOlder(scroller, sentinel, messages[0]?.key ?? null, hasOlder && !olderFailed ? loadOlder : null);

  return (
    <div className="messages">
      <div
        ref={scroller}
        className="messages__scroller"
        data-testid="message-list"
        onScroll={anchor.onScroll}
        onKeyDown={onMessageKey}
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
            <DaySection key={day.key} day={day} online={online} />
          ))}
        </div>
      </div>
      {!anchor.atEnd && (
        <button
          type="button"
          className={anchor.unseen > 0 ? 'pill pill--unseen' : 'pill'}
          data-testid="to-latest"
          data-unseen={anchor.unseen}
          aria-label={anchor.unseen > 0 ? undefined : words.toLatest}
          onClick={anchor.scrollToEnd}
        >
          <Icon name="down" />
          {anchor.unseen > 0 && words.newMessages(anchor.unseen)}
        </button>
      )}
      <Announcer messages={messages} me={me} />
    </div>
  );
}
