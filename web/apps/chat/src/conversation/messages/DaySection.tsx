/** The messages of one day, under a heading with the date. */
import { useFormats } from '../../i18n/language.ts';
import { useToday } from '../../ui/useToday.ts';
import { MessageGroup } from './MessageGroup.tsx';
import type { Day } from './timeline.ts';

interface Props {
  readonly day: Day;
  readonly online: boolean;
}

export function DaySection({ day, online }: Props) {
  const formats = useFormats();
  const today = useToday();
  return (
    <section className="day">
      <h2 className="day__title">
        <time>{formats.day(day.date, today)}</time>
      </h2>
      {day.groups.map((group) => (
        <MessageGroup key={group.key} group={group} online={online} />
      ))}
    </section>
  );
}
