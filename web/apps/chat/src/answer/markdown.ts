/**
 * Parses the markdown of answers. HTML is text, and nesting is limited.
 *
 * The time to parse hostile input is about linear in its length, unlike with parsers that backtrack.
 */
import MarkdownIt, { type Token } from 'markdown-it';

// A single line break is shown as one. Web addresses become links in `PlainText`.
const parser = new MarkdownIt('default', { html: false, linkify: false, breaks: true, maxNesting: 100 });
/** A later line can still change this number of blocks at the end: a list continues after an empty line. */
const OPEN_BLOCKS = 2;

export type { Token };

export function parse(source: string): Token[] {
  return parser.parse(source, {});
}

/** Splits a text into its blocks: paragraphs, lists, tables, code and others. Joined, they are the text. */
function splitBlocks(text: string): string[] {
  const tokens: Token[] = [];
  parser.block.parse(text.replaceAll('\r', ' '), parser, {}, tokens);
  const starts = tokens.filter(({ level, map, nesting }) => level === 0 && map !== null && nesting >= 0);
  const lines = text.split('\n').map((line) => `${line}\n`);
  const bounds = starts.map(({ map }) => map?.[0] ?? 0);
  bounds[0] = 0;
  return bounds.map((from, index) => lines.slice(from, bounds[index + 1]).join(''));
}

/**
 * Returns a function that splits a text that grows. It parses the last blocks only, so that the cost of a delta does
 * not depend on the length of the text.
 */
export function newSplitter(): (text: string) => readonly string[] {
  let known = '';
  let blocks: readonly string[] = [];
  return (text) => {
    if (text === known) return blocks;
    const kept = text.startsWith(known) ? blocks.slice(0, -OPEN_BLOCKS) : [];
    const from = kept.reduce((length, block) => length + block.length, 0);
    blocks = [...kept, ...splitBlocks(text.slice(from))];
    known = text;
    return blocks;
  };
}
