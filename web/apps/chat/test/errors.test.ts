import { ProblemError } from '@roomcast/react';
import { expect, test } from 'vitest';
import { describeError } from '../src/errors.ts';
import { en } from '../src/i18n/en.ts';

test('a refused addition of a member is explained', () => {
  const error = new ProblemError(429, { code: 'addition-limit', detail: 'text of the server' });
  expect(describeError(error, en.errors)).toBe(en.errors.additionLimit);
});

test('a quota that is used up says when there are new answers', () => {
  const error = (seconds: string) => new ProblemError(429, { code: 'quota-reached' }, seconds);
  expect(describeError(error('1500'), en.errors)).toContain('25 min');
  expect(describeError(error('9000'), en.errors)).toContain('3 h');
  expect(error('9').retryable).toBe(false);
});
