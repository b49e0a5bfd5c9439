/** The text of an answer as markdown: elements only, so that nothing in it can run, load or leave its block. */
import { createElement, Fragment, memo, type ReactNode, useState } from 'react';
import remend from 'remend';

import { SafeLink } from '../text/SafeLink.tsx';
import { PlainText } from '../text/PlainText.tsx';
import { CodeBlock } from './CodeBlock.tsx';
import { newSplitter, parse, type Token } from './markdown.ts';

/** A longer last block is shown as it is while it grows, because its ends are searched for at each delta. */
const MAX_COMPLETED_CHARS = 4_000;
/** Headings of an answer are below those of the page. */
const HEADING_SHIFT = 2;

interface Props {
  readonly text: string;
  readonly growing: boolean;
}

export function Markdown({ text, growing }: Props) {
  const [split] = useState(newSplitter);
  const blocks = split(text);
  return (
    <div className="markdown">
      {blocks.map((source, index) => {
        const open = growing && index === blocks.length - 1;
        return <Block key={index} source={open ? completed(source) : source} />;
      })}
    </div>
  );
}

/** Closes emphasis and code that the next deltas will close. */
function completed(source: string): string {
  return source.length > MAX_COMPLETED_CHARS
    ? source
    : remend(source.trimEnd(), { linkMode: 'text-only', images: false });
}

const Block = memo(function Block({ source }: { readonly source: string }) {
  return render(parse(source));
});

interface Open {
  /** Null for the root. */
  readonly token: Token | null;
  readonly children: ReactNode[];
  /** The text so far. */
  text: string;
}

/** Builds elements from tokens, which open and close in pairs. */
function render(tokens: readonly Token[]): ReactNode {
  const root: Open = { token: null, children: [], text: '' };
  const stack = [root];
  for (const token of tokens) {
    const open = stack.at(-1) ?? root;
    if (token.nesting === 1) {
      stack.push({ token, children: [], text: '' });
    } else if (token.nesting === -1) {
      stack.pop();
      const parent = stack.at(-1) ?? root;
      parent.children.push(element(open, parent.children.length));
      parent.text += open.text;
    } else {
      const inLink = stack.some((other) => other.token?.type === 'link_open');
      open.children.push(<Fragment key={open.children.length}>{leaf(token, inLink)}</Fragment>);
      open.text += token.content;
    }
  }
  return root.children;
}

function leaf(token: Token, inLink: boolean): ReactNode {
  switch (token.type) {
    case 'inline':
      return render(token.children ?? []);
    case 'fence':
    case 'code_block':
      return <CodeBlock language={token.info.trim().split(/\s+/, 1)[0] ?? ''} code={token.content} />;
    case 'code_inline':
      return <code dir="auto">{token.content}</code>;
    case 'image':
      // A request for an image would inform its server of the reader, so it is not sent. Links are not nested.
      return inLink ? token.content : <SafeLink href={attribute(token, 'src')} label={token.content || '🖼'} />;
    case 'hardbreak':
    case 'softbreak':
      return <br />;
    case 'hr':
      return <hr />;
    default:
      return inLink ? token.content : <PlainText text={token.content} />;
  }
}

function attribute(token: Token, name: string): string {
  return String(token.attrGet(name) ?? '');
}

const PLAIN_TAGS = ['blockquote', 'ul', 'li', 'em', 'strong', 's', 'thead', 'tbody', 'tr'];

function element({ token, children, text }: Open, key: number): ReactNode {
  if (token === null || token.hidden) return <Fragment key={key}>{children}</Fragment>;
  const { tag } = token;
  if (PLAIN_TAGS.includes(tag)) return createElement(tag, { key, dir: tag === 'li' ? 'auto' : undefined }, ...children);
  switch (tag) {
    case 'p':
      return (
        <p key={key} dir="auto">
          {children}
        </p>
      );
    case 'ol':
      return (
        <ol key={key} start={Number(token.attrGet('start') ?? 1)}>
          {children}
        </ol>
      );
    case 'a':
      return (
        <SafeLink key={key} href={attribute(token, 'href')} label={text}>
          {children}
        </SafeLink>
      );
    case 'table':
      return (
        // Focusable, so that it can be scrolled with the keyboard.
        <div key={key} className="markdown__table" tabIndex={0}>
          <table>{children}</table>
        </div>
      );
    case 'th':
    case 'td': {
      const align = /(left|center|right)$/.exec(attribute(token, 'style'))?.[1];
      return createElement(tag, { key, dir: 'auto', className: align && `align-${align}` }, ...children);
    }
  }
  const level = /^h([1-6])$/.exec(tag)?.[1];
  return createElement(level ? `h${Math.min(6, Number(level) + HEADING_SHIFT)}` : Fragment, { key }, ...children);
}
