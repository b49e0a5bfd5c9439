/** The state of a turn in words, below its answer or, without an answer, below its question. */
import type { ChatEntry } from '@roomcast/react';

import { useChatActions } from '../conversation/actions.ts';
import { useStrings } from '../i18n/language.ts';
import { Icon } from '../ui/Icon.tsx';
import { describeTurn, isUnanswered } from './turns.ts';

export function TurnState({ message }: { readonly message: ChatEntry }) {
  const { answer: words } = useStrings();
  const actions = useChatActions();
  const { turn } = message;
  if (turn === null || (message.role === 'USER' && !isUnanswered(turn))) return null;
  const { id, status } = turn;
  if (status === 'queued') {
    return (
      <p className="message__state" data-testid="turn-state" data-turn-status={status}>
        <Icon name="clock" />
        {words.queued}
        <button type="button" className="link" data-testid="cancel-turn" onClick={() => actions.stop(id)}>
          {words.cancel}
        </button>
      </p>
    );
  }
  if (status === 'streaming') {
    // The parts show that the answer grows.
    if (message.parts?.some((part) => part.type !== 'step-start')) return null;
    return (
      <p className="message__state" data-testid="turn-state" data-turn-status={status}>
        <span className="typing__dots" aria-hidden="true">
          <i />
          <i />
          <i />
        </span>
        {words.thinking}
      </p>
    );
  }
  const isFailure = status === 'failed' || status === 'incomplete';
  return (
    <p
      className={isFailure ? 'message__state message__state--failed' : 'message__state'}
      data-testid="turn-state"
      data-turn-status={status}
      data-turn-reason={turn.reason ?? undefined}
    >
      {status !== 'complete' && (
        <>
          <Icon name={isFailure ? 'alert' : 'stop'} />
          <span>{describeTurn(turn, words)}</span>
        </>
      )}
      <button type="button" className="link" data-testid="regenerate" onClick={() => actions.regenerate(id)}>
        {status === 'complete' ? words.again : words.retry}
      </button>
    </p>
  );
}
