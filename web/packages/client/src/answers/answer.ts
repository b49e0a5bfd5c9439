/**
 * An answer that grows: a fold of published chunks, in the vocabulary of the AI SDK's UI message stream, into the parts
 * of a message. Has the same result as `roomcast.chat.answers.answer` in Python: tests/cases/answers.json tests both.
 *
 * Adding a delta costs the same whatever the length of the answer: strings are appended, not copied. A part that does
 * not change remains the same object, so that a view can memoize it.
 */
import type { AiChunk } from '../generated/contract.ts';
import type { MessagePart } from '../types.ts';

type Chunk = Readonly<Record<string, unknown>>;
type Fields = Record<string, unknown>;

/** Frames of chunks, as in `ai-chunk` and in the ack of `ai-resume`. */
export type Frame = Pick<AiChunk, 'turnId' | 'generation' | 'first' | 'last' | 'chunks'>;

/** These chunks belong to no part. */
const IGNORED = ['start', 'finish', 'abort', 'error'];
/** The states of a tool call that have another name than their chunks. */
const STATES: Readonly<Record<string, string>> = { 'input-start': 'input-streaming', 'input-error': 'output-error' };

export class Answer {
  generation = 0;
  /** Number of the last chunk; -1 before the first. */
  last = -1;
  /** False after a chunk that this version does not understand: the parts are not those of the server. */
  exact = true;
  #parts: Fields[] = [];

  /** The parts so far; a new array with the same objects. */
  get parts(): readonly MessagePart[] {
    return this.#parts.slice() as unknown as readonly MessagePart[];
  }

  /** The text of all text parts. */
  get content(): string {
    // Not `join`, which would copy the whole text.
    return this.#parts.reduce(
      (content, { type, text }) =>
        type !== 'text' || text === '' ? content : content + (content && '\n\n') + (text as string),
      '',
    );
  }

  /**
   * Applies a frame that follows directly, or starts from 0.
   *
   * @returns False if earlier chunks are missing. A frame without news is ignored.
   */
  accept({ generation = 1, first, last, chunks }: Frame): boolean {
    if (generation < this.generation || (generation === this.generation && last <= this.last)) return true;
    if (first === 0) {
      this.#parts = [];
      this.exact = true;
    } else if (generation !== this.generation || first !== this.last + 1) {
      return false;
    }
    for (const chunk of chunks) this.exact = this.exact && this.#add(chunk);
    this.generation = generation;
    this.last = last;
    return true;
  }

  #add(chunk: Chunk): boolean {
    const type = String(chunk['type']);
    const [kind = ''] = type.split('-');
    switch (type) {
      case 'text-start':
      case 'reasoning-start':
        this.#parts.push({ type: kind, text: '', state: 'streaming' });
        return true;
      case 'text-delta':
      case 'reasoning-delta':
        return this.#grow(Number(chunk['id']), kind, 'text', chunk['delta']);
      case 'text-end':
      case 'reasoning-end':
        return this.#change(Number(chunk['id']), kind, { state: 'done' });
      case 'tool-input-delta':
        return this.#grow(this.#indexOf(chunk), 'dynamic-tool', 'rawInput', chunk['inputTextDelta']);
      case 'start-step':
        this.#parts.push({ type: 'step-start' });
        return true;
      case 'source-url':
      case 'source-document':
      case 'file':
      case 'reasoning-file':
        this.#parts.push({ ...chunk });
        return true;
    }
    if (type.startsWith('tool-')) return this.#call(type.slice('tool-'.length), chunk);
    if (type.startsWith('data-')) {
      const { id } = chunk;
      const index = id == null ? -1 : this.#parts.findIndex((part) => part['type'] === type && part['id'] === id);
      return this.#replace(index === -1 ? this.#parts.length : index, { ...chunk });
    }
    return IGNORED.includes(type);
  }

  #indexOf({ toolCallId }: Chunk): number {
    return this.#parts.findIndex((part) => part['toolCallId'] === toolCallId);
  }

  /** Adds the part of a tool call, or changes its state. */
  #call(step: string, chunk: Chunk): boolean {
    const index = this.#indexOf(chunk);
    const before = omit(this.#parts[index] ?? { type: 'dynamic-tool' }, 'preliminary', 'rawInput');
    const part: Fields = { ...before, ...omit(chunk, 'type', 'dynamic'), state: STATES[step] ?? step };
    if (step === 'input-start') part['rawInput'] = '';
    return this.#replace(index === -1 ? this.#parts.length : index, part);
  }

  #grow(index: number, type: string, name: string, delta: unknown): boolean {
    const text = this.#parts[index]?.[name];
    if (typeof text !== 'string' || typeof delta !== 'string') return false;
    return this.#change(index, type, { [name]: text + delta });
  }

  #change(index: number, type: string, change: Fields): boolean {
    const part = this.#parts[index];
    return part?.['type'] === type && this.#replace(index, { ...part, ...change });
  }

  #replace(index: number, part: Fields): boolean {
    if (index < 0) return false;
    this.#parts[index] = part;
    return true;
  }
}

function omit(fields: Fields, ...names: string[]): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
}
