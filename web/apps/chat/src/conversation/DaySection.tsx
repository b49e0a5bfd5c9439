/** The messages of one day, under a heading with the date. */
import { useFormats } from '../i18n/language.ts';
import { useToday } from '../ui/useToday.ts';
import { MessageGroup } from './MessageGroup.tsx';
import type { Day } from './timeline.ts';

interface Props {
  readonly day: Day;
  readonly online: boolean;
  readonly onRetry: (key: string) => void;
  readonly onDiscard: (key: string) => void;
}

export function DaySection({ day, online, onRetry, onDiscard }: Props) {
  const formats = useFormats();
  const today = useToday();
  return (
    <section className="day">
      <h2 className="day__title">
        <time>{formats.day(day.date, today)}</time>
      </h2>
      {day.groups.map((group) => (
        <MessageGroup key={group.key} group={group} online={online} onRetry={onRetry} onDiscard={onDiscard} />
      ))}
    </section>
  );
}
