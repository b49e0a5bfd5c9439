import { cleanup, render, screen } from '@testing-library/react';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';

import { newSplitter } from '../../src/answer/markdown.ts';
import { Markdown } from '../../src/answer/Markdown.tsx';

afterEach(cleanup);

function html(text: string, growing = false): string {
  const { container } = render(<Markdown text={text} growing={growing} />);
  return container.querySelector('.markdown')?.innerHTML ?? '';
}

const SAMPLES = [
  '# Title\n\nText **bold** `code`.\n\n- one\n- two\n\n  more\n\n3. three\n',
  '```js\nlet a = 1;\n\nlet b;\n```\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\nend',
  '> quote\n> more\n\n1. a\n\n2. b\n\n---\n\nline one\nline two\n===\n',
  '\n\n\n   indented\r\n\r\ntext\n\n\n',
];

describe('blocks', () => {
  test('of a text that grows are those of the whole text, whatever the deltas', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...SAMPLES),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 60, maxLength: 60 }),
        (text, sizes) => {
          const split = newSplitter();
          let end = 0;
          for (const size of sizes) split(text.slice(0, (end += size)));
          expect(split(text)).toEqual(newSplitter()(text));
          expect(split(text).join('').trimEnd()).toBe(text.trimEnd());
        },
      ),
    );
  });

  test('that are finished stay the same elements while the last one grows', () => {
    const { container, rerender } = render(<Markdown text={'one\n\ntwo\n\nthr'} growing />);
    const first = container.querySelector('p');
    const split = newSplitter();
    const before = split('one\n\ntwo\n\nthr');
    expect(split('one\n\ntwo\n\nthree')[0]).toBe(before[0]);
    rerender(<Markdown text={'one\n\ntwo\n\nthree'} growing />);
    expect(container.querySelector('p')).toBe(first);
    expect(container.textContent).toBe('onetwothree');
  });
});

describe('hostile markdown', () => {
  test.each([
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    '<iframe src="https://evil.example"></iframe>\n\n<svg onload=alert(1)>',
    '<style>*{display:none}</style><a href="javascript:alert(1)" onclick=x>a</a>',
    '[x](javascript:alert(1)) [y](data:text/html,<script>) [z](vbscript:x) [w](file:///etc/passwd) <javascript:a>',
    '![](https://evil.example/pixel.png) ![x](data:image/svg+xml,<svg>) [![x](http://a.example/i.png)](http://b.example)',
    '[a]: javascript:alert(1)\n\n[a] [a][a]',
  ])('has no element that runs or loads anything: %s', (text) => {
    render(<Markdown text={text} growing={false} />);
    expect(document.querySelectorAll('script, img, iframe, svg:not(.icon), style, object, embed, form')).toHaveLength(
      0,
    );
    for (const element of document.body.querySelectorAll('*')) {
      for (const { name } of element.attributes) expect(name).not.toMatch(/^on|^style$|^src/);
    }
    for (const link of document.querySelectorAll('a')) {
      expect(link.protocol).toMatch(/^(https?|mailto):$/);
      expect(link.rel).toContain('noopener');
    }
  });

  test('shows where a link leads if its text does not', () => {
    expect(html('[your bank](https://evil.example/login)')).toContain('(evil.example)');
    expect(html('[evil.example](https://evil.example/)')).not.toContain('(evil.example)');
    expect(html('https://a.example/x')).toContain('<a href="https://a.example/x"');
  });

  test.each(['>', '- ', '1. ', '*a_', '_a*', '[', '![a](b', '`', '~~a', '\n- ', '|a', '\n|', '<a ', '&'])(
    'of 32,768 characters of %j is rendered in time',
    (piece) => {
      const start = performance.now();
      html(piece.repeat(32_768 / piece.length));
      // Parsers that backtrack need minutes for some of these.
      expect(performance.now() - start).toBeLessThan(10_000);
    },
    30_000,
  );

  test('shows characters that reorder code', () => {
    html('```js\nif (a \u202e) {}\n```');
    expect(screen.getByTestId('code').textContent).toContain('if (a ⟨U+202E⟩) {}');
  });
});

describe('markdown that is not finished', () => {
  test.each([
    ['this is **bol', '<strong>bol</strong>'],
    ['some `cod', '<code dir="auto">cod</code>'],
    ['a [link](https://a.exam', 'a link'],
    ['```py\nprint(', '<pre'],
    ['| a | b |\n|---|---|\n| 1', '<table>'],
  ])('%j is shown as it will be', (text, expected) => {
    expect(html(text, true)).toContain(expected);
  });

  test('is shown as it is once the answer has ended', () => {
    expect(html('2 ** 3', false)).toContain('2 ** 3');
  });
});

test('headings, tables, lists and code have their elements', () => {
  const result = html('# A\n\n1. x\n   - y\n\n| a |\n|--:|\n| 1 |\n\n```rust\nfn main() {}\n```\n\nb\nc ~~d~~ *e*');
  for (const expected of [
    '<h3>A</h3>',
    '<ol start="1">',
    '<li dir="auto">',
    'class="align-right"',
    'rust',
    'b<br>c',
    '<s>',
    '<em>',
  ]) {
    expect(result).toContain(expected);
  }
});
