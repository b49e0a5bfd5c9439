/** The language in use: the reader's choice, else the first of the browser's languages that the page speaks. */
import { useEffect, useSyncExternalStore } from 'react';

import { createSetting } from '../storage/setting.ts';
import type { Dictionary } from './en.ts';
import { type Formats, formatsOf } from './formats.ts';
import { isLanguage, type Language, languages, pickLanguage } from './languages.ts';

export const languageSetting = createSetting<Language>('language', isLanguage, () => pickLanguage(navigator.languages));

export function useLanguage(): Language {
  return useSyncExternalStore(languageSetting.subscribe, languageSetting.get);
}

/** Every string of the page in the language in use. */
export function useStrings(): Dictionary {
  return languages[useLanguage()];
}

/** Dates, times and lists in the language in use. */
export function useFormats(): Formats {
  return formatsOf(useLanguage());
}

/** Tells the document its language: fonts, hyphenation and screen readers go by it. */
export function useDocumentLanguage(): void {
  const language = useLanguage();
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
}
