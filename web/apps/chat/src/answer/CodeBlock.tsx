/** A block of code, with its language and a button that copies it. */
import { useStrings } from '../i18n/language.ts';
import { Icon } from '../ui/Icon.tsx';
import { useCopy } from '../ui/useCopy.ts';

/** Characters that reorder the code on the screen, so that it does not read as it runs. */
const INVISIBLE = /[\p{Bidi_Control}]/gu;

interface Props {
  readonly language: string;
  readonly code: string;
}

export function CodeBlock({ language, code }: Props) {
  const { answer: words } = useStrings();
  const [copied, copy] = useCopy(code);
  const shown = code.replace(INVISIBLE, (char) => `⟨U+${char.codePointAt(0)?.toString(16).toUpperCase() ?? ''}⟩`);
  return (
    <div className="code" data-testid="code">
      <div className="code__head">
        <bdi className="code__language">{language.slice(0, 40) || words.code}</bdi>
        {copy !== null && (
          <button type="button" className="code__copy" data-testid="copy-code" onClick={copy}>
            <Icon name={copied ? 'check' : 'copy'} />
            <span role="status">{copied ? words.copied : words.copy}</span>
          </button>
        )}
      </div>
      <pre dir="ltr" tabIndex={0}>
        <code>{shown}</code>
      </pre>
    </div>
  );
}
