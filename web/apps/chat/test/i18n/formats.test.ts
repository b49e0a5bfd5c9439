import { expect, test } from 'vitest';

import { dayOf, formatsOf } from '../../src/i18n/formats.ts';

const now = new Date(2026, 2, 1, 0, 30);

test('the previous calendar day is yesterday, also across the end of a month', () => {
  expect(formatsOf('en').day(now, now)).toBe('Today');
  expect(formatsOf('en').day(new Date(2026, 1, 28, 23, 45), now)).toBe('Yesterday');
  expect(formatsOf('zh-Hant').day(new Date(2026, 1, 28, 0, 0), now)).toBe('昨天');
});

test('an older day is a date, with the year unless it is the current one', () => {
  expect(formatsOf('en').day(new Date(2026, 1, 27), now)).not.toContain('2026');
  expect(formatsOf('en').day(new Date(2025, 11, 31), now)).toContain('2025');
  expect(formatsOf('zh-Hant').day(new Date(2025, 11, 31), now)).toBe('2025年12月31日');
});

test('times are localized', () => {
  expect(formatsOf('zh-Hant').time(new Date(2026, 2, 1, 14, 5))).toBe('下午2:05');
});

test('dayOf is the same for the whole day', () => {
  expect(dayOf(new Date(2026, 2, 1, 0, 0))).toBe(dayOf(new Date(2026, 2, 1, 23, 59, 59, 999)));
});

test('lists of names are localized', () => {
  expect(formatsOf('zh-Hant').list(['甲', '乙', '丙'])).toBe('甲、乙和丙');
  expect(formatsOf('en').list(['Ann', 'Bob'])).toBe('Ann and Bob');
});
