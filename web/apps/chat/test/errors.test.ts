import { ProblemError } from '@roomcast/react';
import { expect, test } from 'vitest';
import { describeError } from '../src/errors.ts';
import { en } from '../src/i18n/en.ts';

test('a refused addition of a member is explained', () => {
  const error = new ProblemError(429, { code: 'addition-limit', detail: 'text of the server' });
  expect(describeError(error, en.errors)).toBe(en.errors.additionLimit);
});
