/** The files above the composer: preview, progress, cancel, retry. */
import { describeError } from '../../errors.ts';
import { useFormats, useStrings } from '../../i18n/language.ts';
import { Icon } from '../../ui/Icon.tsx';
import type { Uploads } from './useUploads.ts';

export function UploadList({ uploads }: { readonly uploads: Uploads }) {
  const { files: words, errors } = useStrings();
  const formats = useFormats();
  if (uploads.list.length === 0) return null;
  return (
    <ul className="uploads" aria-label={words.uploads} data-testid="uploads">
      {uploads.list.map(({ key, name, size, preview, progress, attachment, error }) => (
        <li key={key} className="upload" data-testid="upload" data-done={attachment !== null}>
          {preview === null ? <Icon name="file" /> : <img className="upload__preview" src={preview} alt="" />}
          <span className="upload__text">
            <bdi className="upload__name">{name}</bdi>
            {error === null ? (
              <span className="upload__state">{formats.bytes(size)}</span>
            ) : (
              <span className="upload__state upload__state--failed" role="alert">
                {describeError(error, errors)}{' '}
                <button
                  type="button"
                  className="link"
                  data-testid="upload-retry"
                  aria-label={words.retryNamed(name)}
                  onClick={() => uploads.retry(key)}
                >
                  {words.retry}
                </button>
              </span>
            )}
            {attachment === null && error === null && (
              <progress className="upload__progress" value={progress} aria-label={words.progressOf(name)} />
            )}
          </span>
          <button
            type="button"
            className="upload__remove"
            data-testid="upload-remove"
            aria-label={words.removeNamed(name)}
            title={words.removeNamed(name)}
            onClick={() => {
              uploads.remove(key);
              // The button is gone, and would take the focus with it.
              document.getElementById('composer')?.focus();
            }}
          >
            <Icon name="close" />
          </button>
        </li>
      ))}
    </ul>
  );
}
