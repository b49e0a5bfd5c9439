/** The files of a message: images with their size reserved, other files as links; and the dialog that shows an image. */
import type { Attachment } from '@roomcast/react';
import { type MouseEvent, useEffect, useRef, useState } from 'react';

import { useFormats, useStrings } from '../../i18n/language.ts';
import { Icon } from '../../ui/Icon.tsx';
import { useChatActions } from '../actions.ts';

/** Links are valid for several minutes; a page that stays open asks again, and gets the same one while it is valid. */
const REFRESH_MS = 120_000;
const SHOWN = /^image\/(?:png|jpeg|gif|webp)$/;
const MAX_WIDTH = 320;
const MAX_HEIGHT = 240;

/** The link of a file; null until it is known. */
function useFileUrl(fileId: string): string | null {
  const { fileUrl } = useChatActions();
  const [url, setUrl] = useState<string | null>(null);
  useEffect(() => {
    let unmounted = false;
    const load = (): void => {
      fileUrl(fileId).then(
        (found) => {
          if (!unmounted) setUrl(found);
        },
        () => undefined, // The next attempt follows; the file shows its name meanwhile.
      );
    };
    load();
    const timer = setInterval(load, REFRESH_MS);
    return () => {
      unmounted = true;
      clearInterval(timer);
    };
  }, [fileId, fileUrl]);
  return url;
}

export function Attachments({ files }: { readonly files: readonly Attachment[] }) {
  const { files: words } = useStrings();
  if (files.length === 0) return null;
  return (
    <ul className="attachments" aria-label={words.files} data-testid="attachments">
      {files.map((file) => (
        <li key={file.id}>
          {SHOWN.test(file.type) && file.width !== null && file.height !== null ? (
            <Picture file={file} width={file.width} height={file.height} />
          ) : (
            <FileLink file={file} />
          )}
        </li>
      ))}
    </ul>
  );
}

function FileLink({ file }: { readonly file: Attachment }) {
  const url = useFileUrl(file.id);
  const formats = useFormats();
  return (
    <a className="file" data-testid="file" download={file.name} {...(url === null ? {} : { href: url })}>
      <Icon name="file" />
      <bdi className="file__name">{file.name}</bdi>
      <span className="file__size">{formats.bytes(file.size)}</span>
    </a>
  );
}

interface PictureProps {
  readonly file: Attachment;
  readonly width: number;
  readonly height: number;
}

function Picture({ file, width, height }: PictureProps) {
  const { files: words } = useStrings();
  const url = useFileUrl(file.id);
  const dialog = useRef<HTMLDialogElement>(null);
  const scale = Math.min(1, MAX_WIDTH / width, MAX_HEIGHT / height);
  const size = { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };

  function closeOutside(event: MouseEvent): void {
    if (event.target === dialog.current) dialog.current.close();
  }

  return (
    <>
      <button
        type="button"
        className="picture"
        data-testid="picture"
        aria-label={words.open(file.name)}
        onClick={() => dialog.current?.showModal()}
      >
        {url === null ? (
          <svg {...size} aria-hidden="true" />
        ) : (
          <img {...size} src={`${url}&thumbnail=true`} alt="" loading="lazy" />
        )}
      </button>
      {/* The browser closes it by Escape, and returns the focus. */}
      <dialog ref={dialog} className="viewer" aria-label={file.name} data-testid="viewer" onClick={closeOutside}>
        <div className="viewer__bar">
          <bdi className="viewer__name">{file.name}</bdi>
          {url !== null && (
            <a className="link" href={url} download={file.name}>
              {words.download}
            </a>
          )}
          <button
            type="button"
            className="viewer__close"
            aria-label={words.close}
            onClick={() => dialog.current?.close()}
          >
            <Icon name="close" />
          </button>
        </div>
        {url !== null && <img className="viewer__image" src={url} alt={file.name} loading="lazy" />}
      </dialog>
    </>
  );
}
