/** A message's text: plain, with its line breaks (by the style sheet) and its web addresses as links. */
import { memo } from 'react';

import { splitLinks } from './links.ts';

export const PlainText = memo(function PlainText({ text }: { readonly text: string }) {
  return splitLinks(text).map((piece, index) =>
    piece.kind === 'text' ? (
      piece.text
    ) : (
      <a key={index} href={piece.href} target="_blank" rel="noopener noreferrer nofollow">
        {piece.text}
      </a>
    ),
  );
});
