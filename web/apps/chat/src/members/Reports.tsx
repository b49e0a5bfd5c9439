/** The messages that members have reported, for moderators. Read when the panel is opened. */
import { type contract, useRoomcastClient } from '@roomcast/react';

import { useStrings } from '../i18n/language.ts';
import { summaryOf } from '../text/summary.ts';
import { Failure } from '../ui/Failure.tsx';
import { type Attempt, useLoaded } from '../ui/requests.ts';

interface Props {
  readonly chatId: string;
  readonly attempt: Attempt;
}

export function Reports({ chatId, attempt }: Props) {
  const { members: words, marks } = useStrings();
  const { api } = useRoomcastClient();
  const { value, error, reload } = useLoaded(async () => {
    const { reports } = await api.listReports(chatId);
    return Promise.all(
      reports.map(async (report) => {
        const { versions } = await api.listVersions(chatId, report.messageId);
        const last = versions.at(-1);
        return { report, text: summaryOf(last?.content ?? '', last?.attachments?.[0]?.name) };
      }),
    );
  });
  if (value === null || value.length === 0) return <Failure error={error} />;

  function close(report: contract.Report, first: Promise<unknown> = Promise.resolve()): void {
    void attempt(first.then(() => api.closeReport(chatId, report)).then(reload));
  }

  return (
    <section className="members__section">
      <h3 className="panel__title">{words.reports}</h3>
      <ul>
        {value.map(({ report, text }) => (
          <li
            key={`${report.messageId} ${report.userId}`}
            className="members__entry members__report"
            data-testid="reported"
          >
            <span className="members__reported">
              <span dir="auto">{text}</span>
              <small>
                {words.reportedBy(marks.reasons[report.reason as keyof typeof marks.reasons], report.userId)}
              </small>
            </span>
            <button
              type="button"
              className="link"
              data-testid="report-delete"
              onClick={() => close(report, api.deleteMessage(chatId, report.messageId))}
            >
              {words.deleteReported}
            </button>
            <button type="button" className="link" data-testid="report-close" onClick={() => close(report)}>
              {words.closeReport}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
