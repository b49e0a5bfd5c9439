/** The supported languages, and the choice of the default. */
import { en, type Dictionary } from './en';
import { zhHant } from './zh-Hant';

export const languages = { en, 'zh-Hant': zhHant } satisfies Record<string, Dictionary>;

/** BCP 47 tag of a supported language. */
export type Language = keyof typeof languages;

export const languageTags = Object.keys(languages) as Language[];

export function isLanguage(value: unknown): value is Language {
  return typeof value === 'string' && Object.hasOwn(languages, value);
}

/**
 * The first supported language of a list of preferences; English if there is none.
 *
 * Any variant of Chinese selects Traditional Chinese, the only supported one.
 */
export function pickLanguage(preferred: readonly string[]): Language {
  for (const tag of preferred) {
    const primary = tag.toLowerCase().split('-', 1)[0];
    if (primary === 'zh') return 'zh-Hant';
    if (primary === 'en') return 'en';
  }
  return 'en';
}
