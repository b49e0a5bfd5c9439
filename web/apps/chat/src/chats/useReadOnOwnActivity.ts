/** Who writes in a chat has read it, on whichever device: here too it is no news then. */
import { useRoomcastClient } from '@roomcast/react';
import { useEffect } from 'react';

import type { ReadMarks } from './readMarks.ts';

export function useReadElsewhere(marks: ReadMarks, me: string): void {
  const client = useRoomcastClient();
  useEffect(
    () =>
      client.on('chat-activity', ({ chatId, seq, userId }) => {
        if (userId === me) marks.read(chatId, seq);
      }),
    [client, marks, me],
  );
}
