/** The languages of the page and how one is chosen. */
import { en, type Dictionary } from './en';
import { zhHant } from './zh-Hant';

export const languages = { en, 'zh-Hant': zhHant } satisfies Record<string, Dictionary>;

/** BCP 47 tag of a language that the page speaks. */
export type Language = keyof typeof languages;

export const languageTags = Object.keys(languages) as Language[];

export function isLanguage(value: unknown): value is Language {
  return typeof value === 'string' && Object.hasOwn(languages, value);
}

/**
 * The first of the reader's languages that the page speaks; English if none.
 *
 * Any Chinese means Traditional Chinese here: to a reader of Chinese it is nearer than English.
 */
export function pickLanguage(preferred: readonly string[]): Language {
  for (const tag of preferred) {
    const primary = tag.toLowerCase().split('-', 1)[0];
    if (primary === 'zh') return 'zh-Hant';
    if (primary === 'en') return 'en';
  }
  return 'en';
}
