/** A link with its target in sight: only web and mail addresses, in a new tab that does not know this page. */
import type { ReactNode } from 'react';

interface Props {
  readonly href: string;
  /** The text of the link; its target is added unless the text contains it. */
  readonly label: string;
  readonly children?: ReactNode;
}

export function SafeLink({ href, label, children = label }: Props) {
  const url = URL.canParse(href) ? new URL(href) : null;
  if (url === null || !['http:', 'https:', 'mailto:'].includes(url.protocol)) return children;
  const target = url.protocol === 'mailto:' ? url.pathname : url.host;
  return (
    <a href={url.href} title={url.href} target="_blank" rel="noopener noreferrer nofollow">
      <bdi>{children}</bdi>
      {!label.includes(target) && <span className="link-target"> ({target.slice(0, 80)})</span>}
    </a>
  );
}
