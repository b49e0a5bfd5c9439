/** The current language: the user's choice, or the first supported language of the browser. */
import { useEffect, useSyncExternalStore } from 'react';

import { createSetting } from '../storage/setting.ts';
import type { Dictionary } from './en.ts';
import { type Formats, formatsOf } from './formats.ts';
import { isLanguage, type Language, languages, pickLanguage } from './languages.ts';

export const languageSetting = createSetting<Language>('language', isLanguage, () => pickLanguage(navigator.languages));

export function useLanguage(): Language {
  return useSyncExternalStore(languageSetting.subscribe, languageSetting.get);
}

/** All strings of the page in the current language. */
export function useStrings(): Dictionary {
  return languages[useLanguage()];
}

/** Dates, times and lists in the current language. */
export function useFormats(): Formats {
  return formatsOf(useLanguage());
}

/** Sets the document's `lang` attribute, which fonts, hyphenation and screen readers use. */
export function useDocumentLanguage(): void {
  const language = useLanguage();
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
}
