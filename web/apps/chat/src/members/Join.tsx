/** The screen of an invite link: what it leads to, and a button that joins. */
import { useRoomcastClient } from '@roomcast/react';
import { useEffect } from 'react';

import { describeError } from '../errors.ts';
import { useStrings } from '../i18n/language.ts';
import { redirectToChat } from '../routing/route.ts';
import { Notice } from '../shell/Notice.tsx';
import { useAttempt, useLoaded } from '../ui/requests.ts';

interface Props {
  readonly token: string;
  /** Called after the join, before the chat is opened. */
  readonly onJoin: () => void;
}

export function Join({ token, onJoin }: Props) {
  const { members: words, chats, errors } = useStrings();
  const { api } = useRoomcastClient();
  const { value: preview, error } = useLoaded(() => api.previewInvite(token));
  const [failure, attempt] = useAttempt();
  const joined = preview?.chatId ?? null;
  useEffect(() => {
    if (joined !== null) redirectToChat(joined);
  }, [joined]);

  function join(): void {
    void attempt(
      api.acceptInvite(token).then((chat) => {
        onJoin();
        redirectToChat(chat.id);
      }),
    );
  }

  const shown = failure ?? error;
  if (shown !== null)
    return <Notice icon="alert" role="alert" title={words.joinFailed} text={describeError(shown, errors)} />;
  if (preview === null || joined !== null) return null;
  return (
    <Notice icon="link" title={preview.title ?? chats.untitled} text={words.joinText(preview.memberCount)}>
      <button type="button" className="button button--primary" data-testid="join" onClick={join}>
        {words.join}
      </button>
    </Notice>
  );
}
