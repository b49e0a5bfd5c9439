/** A message on one line: its text or, without one, its first file. */
export function summaryOf(content: string, fileName: string | null | undefined): string {
  return content === '' && fileName ? `📎 ${fileName}` : content;
}
