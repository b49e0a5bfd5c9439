/** The parts of an answer: text, reasoning, tool calls, sources and files. */
import type { MessagePart, ToolPart } from '@roomcast/react';
import { memo, type ReactNode } from 'react';

import { useStrings } from '../i18n/language.ts';
import { PlainText } from '../text/PlainText.tsx';
import { SafeLink } from '../text/SafeLink.tsx';
import { Icon } from '../ui/Icon.tsx';
import { Markdown } from './Markdown.tsx';

interface Props {
  readonly parts: readonly MessagePart[];
  readonly streaming: boolean;
}

export function AnswerParts({ parts, streaming }: Props) {
  const { answer: words } = useStrings();
  const sources = parts.filter(({ type }) => type === 'source-url' || type === 'source-document');
  return (
    <>
      {parts.map((part, index) => (
        <Part key={index} part={part} streaming={streaming} />
      ))}
      {sources.length > 0 && (
        <ul className="sources" aria-label={words.sources}>
          {sources.map((part, index) => (
            <li key={index}>
              {part.type === 'source-url' ? (
                <SafeLink href={part.url} label={part.title ?? part.url} />
              ) : (
                <bdi>{part.type === 'source-document' && part.title}</bdi>
              )}
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

const Part = memo(function Part({ part, streaming }: { readonly part: MessagePart; readonly streaming: boolean }) {
  const { answer: words } = useStrings();
  switch (part.type) {
    case 'text':
      return <Markdown text={part.text} growing={streaming && part.state === 'streaming'} />;
    case 'reasoning': {
      const growing = streaming && part.state === 'streaming';
      return (
        <details className="reasoning" data-testid="reasoning">
          <summary>{growing ? words.thinking : words.reasoning}</summary>
          <p dir="auto">
            <PlainText text={part.text} />
          </p>
        </details>
      );
    }
    case 'dynamic-tool':
      return <ToolCard tool={part} streaming={streaming} />;
    case 'file':
    case 'reasoning-file':
      return <FileLink url={part.url} label={words.file(part.mediaType)} />;
    case 'source-url':
    case 'source-document':
    case 'step-start':
      return null;
    default:
      // Data, which only an application that knows it can show.
      return null;
  }
});

function FileLink({ url, label }: { readonly url: string; readonly label: string }): ReactNode {
  return (
    <p className="file">
      <Icon name="file" />
      {url.startsWith('data:') ? (
        <a href={url} download>
          {label}
        </a>
      ) : (
        <SafeLink href={url} label={label} />
      )}
    </p>
  );
}

function ToolCard({ tool, streaming }: { readonly tool: ToolPart; readonly streaming: boolean }) {
  const { answer: words } = useStrings();
  const running = tool.state === 'input-streaming' || tool.state === 'input-available';
  const state =
    tool.state === 'output-error' ? words.toolFailed : running && streaming ? words.toolRuns : words.toolDone;
  return (
    <details className="tool" data-testid="tool" data-state={tool.state}>
      <summary>
        <Icon name={tool.state === 'output-error' ? 'alert' : running ? 'clock' : 'check'} />
        <bdi className="tool__name">{tool.title ?? tool.toolName}</bdi>
        <span className="tool__state">{state}</span>
      </summary>
      <Value label={words.toolInput} value={tool.rawInput ?? tool.input} />
      <Value label={words.toolOutput} value={tool.errorText ?? tool.output} />
    </details>
  );
}

function Value({ label, value }: { readonly label: string; readonly value: unknown }) {
  if (value === undefined || value === null) return null;
  return (
    <>
      <p className="tool__label">{label}</p>
      <pre className="tool__value" dir="auto" tabIndex={0}>
        {typeof value === 'string' ? value : JSON.stringify(value, null, 2)}
      </pre>
    </>
  );
}
