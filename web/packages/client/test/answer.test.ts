/** The fold of chunks into parts, and the rules for frames. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Answer, type Frame } from '../src/answers/answer.ts';

interface Case {
  name: string;
  chunks: Frame['chunks'];
  parts: unknown[];
  content: string;
}

/** The cases of tests/unit/chat/test_answer_cases.py too. */
const CASES = JSON.parse(
  readFileSync(new URL('../../../../tests/cases/answers.json', import.meta.url), 'utf8'),
) as Case[];

function frame(first: number, chunks: Frame['chunks'], generation = 1, last = first + chunks.length - 1): Frame {
  return { turnId: 't', generation, first, last, chunks };
}

const START = { type: 'text-start', id: '0' };
const delta = (text: string): Frame['chunks'][number] => ({ type: 'text-delta', id: '0', delta: text });

test.each(CASES)('$name', ({ chunks, parts, content }) => {
  fc.assert(
    fc.property(fc.infiniteStream(fc.integer({ min: 1, max: 4 })), (sizes) => {
      const answer = new Answer();
      for (let first = 0; first < chunks.length;) {
        const size = sizes.next().value as number;
        expect(answer.accept(frame(first, chunks.slice(first, first + size)))).toBe(true);
        first = answer.last + 1;
      }
      expect(answer.parts).toEqual(parts);
      expect(answer.content).toBe(content);
      expect(answer.exact).toBe(true);
    }),
    { numRuns: 20 },
  );
});

test('a part that does not change remains the same object', () => {
  const answer = new Answer();
  answer.accept(frame(0, [START, delta('a'), { type: 'text-end', id: '0' }, { type: 'text-start', id: '1' }]));
  const before = answer.parts;
  answer.accept(frame(4, [{ type: 'text-delta', id: '1', delta: 'b' }]));
  expect(answer.parts[0]).toBe(before[0]);
  expect(before[1]).toMatchObject({ text: '' });
});

describe('a frame', () => {
  function started(): Answer {
    const answer = new Answer();
    answer.accept(frame(0, [START, delta('ab')]));
    return answer;
  }

  test('that is known, or of an earlier generation, changes nothing', () => {
    const answer = started();
    expect(answer.accept(frame(1, [delta('ab')]))).toBe(true);
    expect(answer.accept(frame(2, [delta('x')], 0))).toBe(true);
    expect(answer.content).toBe('ab');
  });

  test('that follows is added; one beyond a gap is not', () => {
    const answer = started();
    expect(answer.accept(frame(3, [delta('d')]))).toBe(false);
    expect(answer.accept(frame(2, [delta('c')]))).toBe(true);
    expect(answer.accept(frame(3, [delta('d')]))).toBe(true);
    expect([answer.content, answer.last]).toEqual(['abcd', 3]);
  });

  test('of a later generation replaces the answer from 0, and is a gap otherwise', () => {
    const answer = started();
    expect(answer.accept(frame(2, [delta('x')], 2))).toBe(false);
    expect(answer.accept(frame(0, [START, delta('new')], 2))).toBe(true);
    expect([answer.content, answer.generation]).toEqual(['new', 2]);
  });

  test('that only announces chunks is a gap if they are unknown', () => {
    expect(started().accept(frame(2, [], 1, 1))).toBe(true);
    expect(started().accept(frame(9, [], 1, 8))).toBe(false);
  });

  test('with merged chunks from 0 replaces the answer', () => {
    const answer = started();
    expect(answer.accept(frame(0, [START, delta('abcd')], 1, 7))).toBe(true);
    expect([answer.content, answer.last]).toEqual(['abcd', 7]);
  });

  test.each([
    [{ type: 'of-a-later-version' }],
    [{ type: 'text-delta', id: '7', delta: 'x' }],
    [{ type: 'text-delta', id: '0', delta: 1 }],
    [{ type: 'reasoning-end', id: '0' }],
    [{ type: 'tool-input-delta', toolCallId: 'c', inputTextDelta: 'x' }],
    [{}],
  ])('with a chunk that is not understood makes the answer inexact until the next snapshot: %j', (chunk) => {
    const answer = started();
    expect(answer.accept(frame(2, [chunk]))).toBe(true);
    expect(answer.exact).toBe(false);
    answer.accept(frame(0, [START], 2));
    expect(answer.exact).toBe(true);
  });
});

test('a long answer of small deltas costs no more per delta than a short one', () => {
  const timeOf = (deltas: number): number => {
    const answer = new Answer();
    answer.accept(frame(0, [START]));
    const start = performance.now();
    for (let index = 1; index <= deltas; index += 1) answer.accept(frame(index, [delta('token ')]));
    expect(answer.content).toHaveLength(deltas * 6);
    return (performance.now() - start) / deltas;
  };
  timeOf(20_000);
  // Copying the text at each delta would make this factor about 20.
  expect(timeOf(40_000)).toBeLessThan(8 * timeOf(2_000) + 0.001);
});
