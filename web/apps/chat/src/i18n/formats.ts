/** Localized dates, times and lists. Formatters are expensive to create and are cached per language. */
import type { Dictionary } from './en';
import { type Language, languages } from './languages';

export interface Formats {
  /** Hour and minute, `14:05`. */
  time(date: Date): string;
  /** The time today, else the date, `14:05` or `Mar 5`. */
  short(date: Date, now: Date): string;
  /** Full date and time, for a tooltip. */
  full(date: Date): string;
  /** The day as a heading: today, yesterday, or the date (with the year unless it is the current one). */
  day(date: Date, now: Date): string;
  /** A size in bytes, with the unit that fits: `2.4 MB`. */
  bytes(size: number): string;
  /** A conjunction of names, `Ann, Bob, and Cleo`. */
  list(names: readonly string[]): string;
}

// Chinese uses the conventions of Taiwan; English those of the user's region.
const locales: Record<Language, string | undefined> = { en: undefined, 'zh-Hant': 'zh-Hant-TW' };

function localeOf(language: Language): string {
  const own = locales[language];
  if (own !== undefined) return own;
  const regional = typeof navigator === 'undefined' ? [] : navigator.languages;
  return regional.find((tag) => tag.toLowerCase().startsWith(language)) ?? language;
}

/** Midnight of the date in the user's time zone, in milliseconds since 1970. */
export function dayOf(date: Date): number {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

const built = new Map<Language, Formats>();

function build(language: Language): Formats {
  const locale = localeOf(language);
  const words: Dictionary['conversation'] = languages[language].conversation;
  const time = new Intl.DateTimeFormat(locale, { hour: 'numeric', minute: '2-digit' });
  const full = new Intl.DateTimeFormat(locale, { dateStyle: 'full', timeStyle: 'medium' });
  const monthDay = new Intl.DateTimeFormat(locale, { month: 'short', day: 'numeric' });
  const thisYear = new Intl.DateTimeFormat(locale, { weekday: 'long', month: 'long', day: 'numeric' });
  const otherYear = new Intl.DateTimeFormat(locale, { dateStyle: 'long' });
  const list = new Intl.ListFormat(locale, { type: 'conjunction' });
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte'].map(
    (unit) =>
      new Intl.NumberFormat(locale, {
        style: 'unit',
        unit,
        unitDisplay: unit === 'byte' ? 'long' : 'short',
        maximumSignificantDigits: 3,
      }),
  );
  return {
    bytes(size) {
      const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, size)) / 3));
      return units[power]?.format(size / 1000 ** power) ?? '';
    },
    list: (names) => list.format(names),
    time: (date) => time.format(date),
    short: (date, now) => (dayOf(date) === dayOf(now) ? time : monthDay).format(date),
    full: (date) => full.format(date),
    day(date, now) {
      const day = dayOf(date);
      if (day === dayOf(now)) return words.today;
      // By calendar date, not minus 24 hours: days with a daylight saving change have another length.
      const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
      if (day === yesterday.getTime()) return words.yesterday;
      return (date.getFullYear() === now.getFullYear() ? thisYear : otherYear).format(date);
    },
  };
}

export function formatsOf(language: Language): Formats {
  let formats = built.get(language);
  if (formats === undefined) {
    formats = build(language);
    built.set(language, formats);
  }
  return formats;
}
