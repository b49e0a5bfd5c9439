/** The messages that members have reported, for moderators. Read when the panel is opened. */
import { type contract, useRoomcastClient } from '@roomcast/react';
import { useEffect, useState } from 'react';

import { useStrings } from '../i18n/language.ts';

interface Props {
  readonly chatId: string;
  readonly attempt: (action: Promise<unknown>) => void;
}

interface ReportedMessage {
  readonly report: contract.Report;
  readonly text: string;
}

export function Reports({ chatId, attempt }: Props) {
  const { members: words, marks } = useStrings();
  const { api } = useRoomcastClient();
  const [reported, setReported] = useState<readonly ReportedMessage[]>([]);
  useEffect(() => {
    let current = true;
    const read = async (): Promise<void> => {
      const { reports } = await api.listReports(chatId);
      const found = await Promise.all(
        reports.map(async (report) => {
          const { versions } = await api.listVersions(chatId, report.messageId);
          return { report, text: versions.at(-1)?.content ?? '' };
        }),
      );
      if (current) setReported(found);
    };
    attempt(read());
    return () => {
      current = false;
    };
  }, [api, chatId, attempt]);
  if (reported.length === 0) return null;

  function close(report: contract.Report, first: Promise<unknown> = Promise.resolve()): void {
    attempt(
      first
        .then(() => api.closeReport(chatId, report))
        .then(() => setReported((before) => before.filter((other) => other.report !== report))),
    );
  }

  return (
    <section className="members__section">
      <h3 className="presence-list__title">{words.reports}</h3>
      <ul>
        {reported.map(({ report, text }) => (
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
