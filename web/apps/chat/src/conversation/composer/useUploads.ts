/** The files that the composer uploads for the next message. */
import type { Attachment, UploadOptions } from '@roomcast/react';
import { useEffect, useRef, useState } from 'react';

/** Files of one message; the server's limit. */
export const MAX_FILES = 10;

interface Upload {
  readonly key: number;
  readonly name: string;
  readonly size: number;
  /** URL of the image on this machine; null for other files. */
  readonly preview: string | null;
  /** The sent part, from 0 to 1. */
  readonly progress: number;
  /** The uploaded file; null until the server has it. */
  readonly attachment: Attachment | null;
  /** Why it failed; null if it did not. */
  readonly error: unknown;
}

export interface Uploads {
  readonly list: readonly Upload[];
  readonly ready: boolean;
  readonly add: (files: readonly File[]) => void;
  readonly retry: (key: number) => void;
  readonly remove: (key: number) => void;
  /** Removes all from the list, because a message has them, and returns them. */
  readonly take: () => readonly Attachment[];
}

interface Transfer {
  readonly file: File;
  readonly preview: string | null;
  abort: AbortController;
}

const SHOWN = /^image\/(?:png|jpeg|gif|webp)$/;

export function useUploads(
  send: (file: Blob, options?: UploadOptions) => Promise<Attachment>,
  removeFile: (fileId: string) => Promise<void>,
): Uploads {
  const [list, setList] = useState<readonly Upload[]>([]);
  const transfers = useRef(new Map<number, Transfer>());
  const next = useRef(0);

  // Leaving the chat ends its uploads; the server removes what is not sent.
  useEffect(() => {
    const running = transfers.current;
    return () => running.forEach(end);
  }, []);

  const change = (key: number, changes: Partial<Upload>): void =>
    setList((uploads) => uploads.map((one) => (one.key === key ? { ...one, ...changes } : one)));

  function start(key: number): void {
    const transfer = transfers.current.get(key);
    if (transfer === undefined) return;
    const abort = new AbortController();
    transfer.abort = abort;
    change(key, { error: null, progress: 0 });
    const onProgress = (progress: number): void => change(key, { progress });
    send(transfer.file, { onProgress, signal: abort.signal }).then(
      (attachment) => {
        if (abort.signal.aborted) removeFile(attachment.id).catch(() => undefined);
        else change(key, { attachment, progress: 1 });
      },
      (error: unknown) => {
        if (!abort.signal.aborted) change(key, { error });
      },
    );
  }

  function forget(key: number): void {
    const transfer = transfers.current.get(key);
    transfers.current.delete(key);
    if (transfer !== undefined) end(transfer);
    setList((uploads) => uploads.filter((one) => one.key !== key));
  }

  return {
    list,
    ready: list.every(({ attachment }) => attachment !== null),
    add: (files) => {
      for (const file of files.slice(0, MAX_FILES - list.length)) {
        const key = next.current++;
        const preview = SHOWN.test(file.type) ? URL.createObjectURL(file) : null;
        transfers.current.set(key, { file, preview, abort: new AbortController() });
        const { name, size } = file;
        setList((uploads) => [...uploads, { key, name, size, preview, progress: 0, attachment: null, error: null }]);
        start(key);
      }
    },
    retry: start,
    remove: (key) => {
      const uploaded = list.find((one) => one.key === key)?.attachment;
      // If it fails, the server removes the file after a day.
      if (uploaded) removeFile(uploaded.id).catch(() => undefined);
      forget(key);
    },
    take: () => {
      list.forEach(({ key }) => forget(key));
      return list.flatMap(({ attachment }) => attachment ?? []);
    },
  };
}

function end({ abort, preview }: Transfer): void {
  abort.abort();
  if (preview !== null) URL.revokeObjectURL(preview);
}
