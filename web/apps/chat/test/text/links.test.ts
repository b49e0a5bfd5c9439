import { describe, expect, test } from 'vitest';

import { splitLinks } from '../../src/text/links.ts';

const linksOf = (text: string) => splitLinks(text).flatMap((piece) => (piece.kind === 'link' ? [piece.text] : []));

describe('splitLinks', () => {
  test.each([
    ['see https://example.org/a?b=c#d now', ['https://example.org/a?b=c#d']],
    ['(https://example.org/a).', ['https://example.org/a']],
    ['https://en.wikipedia.org/wiki/Rust_(fungus)', ['https://en.wikipedia.org/wiki/Rust_(fungus)']],
    ['請看https://example.org/路 好嗎', ['https://example.org/']],
    ['請看 https://example.org/a。謝謝', ['https://example.org/a']],
    ['see www.example.org/a.', ['www.example.org/a']],
    ['請看www.example.org。', ['www.example.org']],
    ['write to mailto:ann@example.org, please', ['mailto:ann@example.org']],
    ['http://a.example, http://b.example!', ['http://a.example', 'http://b.example']],
  ])('finds the addresses of %s', (text, found) => {
    expect(linksOf(text)).toEqual(found);
  });

  test.each([
    'javascript:alert(1)',
    'data:text/html,x',
    'ftp://example.org',
    'example.org',
    'https://',
    'https://u:p@evil.example',
    'www.u:p@evil.example',
    'awww.example.org',
    'mailto:nothing',
    'www.',
  ])('does not link %s', (text) => {
    expect(linksOf(text)).toEqual([]);
  });

  test.each(['', 'a\nb', '<b>x</b> https://example.org <i>', '((((https://example.org))))'])(
    'keeps the whole text of %j',
    (text) => {
      expect(
        splitLinks(text)
          .map((piece) => piece.text)
          .join(''),
      ).toBe(text);
    },
  );

  test('an address without a scheme leads to https', () => {
    expect(splitLinks('www.example.org')).toEqual([
      { kind: 'link', text: 'www.example.org', href: 'https://www.example.org/' },
    ]);
  });

  test('is linear in the number of closing brackets', () => {
    const text = `https://example.org/${')'.repeat(32_000)}`;
    const started = performance.now();
    expect(linksOf(text)).toEqual(['https://example.org/']);
    expect(performance.now() - started).toBeLessThan(200);
  });
});
