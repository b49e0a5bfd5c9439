import { expect, test } from 'vitest';

import { dayOf, formatsOf } from '../../src/i18n/formats.ts';

const now = new Date(2026, 2, 1, 0, 30);

test('the day before is yesterday, even an hour ago and over the end of a month', () => {
  expect(formatsOf('en').day(now, now)).toBe('Today');
  expect(formatsOf('en').day(new Date(2026, 1, 28, 23, 45), now)).toBe('Yesterday');
  expect(formatsOf('zh-Hant').day(new Date(2026, 1, 28, 0, 0), now)).toBe('昨天');
});

test('an older day has its date, and its year if that is another', () => {
  expect(formatsOf('en').day(new Date(2026, 1, 27), now)).not.toContain('2026');
  expect(formatsOf('en').day(new Date(2025, 11, 31), now)).toContain('2025');
  expect(formatsOf('zh-Hant').day(new Date(2025, 11, 31), now)).toBe('2025年12月31日');
});

test('times are told as the language has them', () => {
  expect(formatsOf('zh-Hant').time(new Date(2026, 2, 1, 14, 5))).toBe('下午2:05');
});

test('one day is one number from its first to its last moment', () => {
  expect(dayOf(new Date(2026, 2, 1, 0, 0))).toBe(dayOf(new Date(2026, 2, 1, 23, 59, 59, 999)));
});

test('names are listed as the language lists them', () => {
  expect(formatsOf('zh-Hant').list(['甲', '乙', '丙'])).toBe('甲、乙和丙');
  expect(formatsOf('en').list(['Ann', 'Bob'])).toBe('Ann and Bob');
});
