/** A message on one line: its text or, without one, its first file. */
import type { Dictionary } from '../i18n/en.ts';

export function summaryOf(content: string, fileName: string | null | undefined, words: Dictionary['files']): string {
  return content === '' && fileName ? words.named(fileName) : content;
}
