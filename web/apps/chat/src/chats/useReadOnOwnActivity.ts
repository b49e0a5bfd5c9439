/** Marks a chat as read when the own user writes in it, on any device. */
import { useRoomcastClient } from '@roomcast/react';
import { useEffect } from 'react';

import type { ReadMarks } from './readMarks.ts';

export function useReadOnOwnActivity(marks: ReadMarks, me: string): void {
  const client = useRoomcastClient();
  useEffect(
    () =>
      client.on('chat-activity', ({ chatId, seq, userId }) => {
        if (userId === me) marks.read(chatId, seq);
      }),
    [client, marks, me],
  );
}
