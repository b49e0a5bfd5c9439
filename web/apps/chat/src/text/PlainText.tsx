/** The text of a message, with web addresses as links. The style sheet preserves line breaks in the text. */
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
