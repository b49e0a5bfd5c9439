/** The screen of an invite link: what it leads to, and a button that joins. */
import { type contract, type RoomcastError, useRoomcastClient } from '@roomcast/react';
import { useEffect, useState } from 'react';

import { describeError } from '../errors.ts';
import { useStrings } from '../i18n/language.ts';
import { redirectToChat } from '../routing/route.ts';
import { Notice } from '../shell/Notice.tsx';

interface Props {
  readonly token: string;
  /** Called after the join, before the chat is opened. */
  readonly onJoin: () => void;
}

export function Join({ token, onJoin }: Props) {
  const { members: words, chats, errors } = useStrings();
  const { api } = useRoomcastClient();
  const [preview, setPreview] = useState<contract.InvitePreview | null>(null);
  const [failure, setFailure] = useState<RoomcastError | null>(null);
  useEffect(() => {
    let current = true;
    api.previewInvite(token).then(
      (found) => {
        if (!current) return;
        if (found.chatId === null) setPreview(found);
        else redirectToChat(found.chatId);
      },
      (error: unknown) => {
        if (current) setFailure(error as RoomcastError);
      },
    );
    return () => {
      current = false;
    };
  }, [api, token]);

  function join(): void {
    setFailure(null);
    api.acceptInvite(token).then((chat) => {
      onJoin();
      redirectToChat(chat.id);
    }, setFailure);
  }

  if (failure !== null)
    return <Notice icon="alert" role="alert" title={words.joinFailed} text={describeError(failure, errors)} />;
  if (preview === null) return null;
  return (
    <Notice icon="link" title={preview.title ?? chats.untitled} text={words.joinText(preview.memberCount)}>
      <button type="button" className="button button--primary" data-testid="join" onClick={join}>
        {words.join}
      </button>
    </Notice>
  );
}
