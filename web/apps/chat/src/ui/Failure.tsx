/** Why a request failed; nothing while `error` is null. */
import { describeError } from '../errors.ts';
import { useStrings } from '../i18n/language.ts';

export function Failure({
  error,
  className = 'field__error',
}: {
  readonly error: unknown;
  readonly className?: string;
}) {
  const { errors } = useStrings();
  if (error === null) return null;
  return (
    <p className={className} role="alert">
      {describeError(error, errors)}
    </p>
  );
}
