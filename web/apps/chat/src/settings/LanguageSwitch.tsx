/** A button that switches to the next language; its label is in that language. */
import { languageSetting, useLanguage, useStrings } from '../i18n/language.ts';
import { languages, languageTags } from '../i18n/languages.ts';
import { Icon } from '../ui/Icon.tsx';

export function LanguageSwitch() {
  const language = useLanguage();
  const { settings: words } = useStrings();
  const next = languageTags[(languageTags.indexOf(language) + 1) % languageTags.length] ?? language;
  const name = languages[next].languageName;
  return (
    <button
      type="button"
      className="setting"
      data-testid="language-switch"
      data-language={language}
      aria-label={`${words.language}: ${name}`}
      onClick={() => languageSetting.set(next)}
    >
      <Icon name="globe" />
      <span lang={next}>{name}</span>
    </button>
  );
}
