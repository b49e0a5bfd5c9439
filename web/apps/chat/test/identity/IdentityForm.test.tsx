import { act, cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, expect, test } from 'vitest';

import { identity } from '../../src/identity/identity.ts';
import { IdentityForm } from '../../src/identity/IdentityForm.tsx';

const input = () => screen.getByTestId<HTMLInputElement>('name-input');
const enter = (value: string) => {
  fireEvent.change(input(), { target: { value } });
  fireEvent.click(screen.getByTestId('name-submit'));
};

afterEach(() => {
  cleanup();
  act(() => identity.clear());
  localStorage.clear();
  sessionStorage.clear();
});

test('a name lets one in, without its blank edges', () => {
  render(<IdentityForm byToken={false} />);
  enter('  Ada ');
  expect(identity.get()).toEqual({ userId: 'Ada', token: null });
});

test('without a name one is told so, until one types', () => {
  render(<IdentityForm byToken={false} />);
  enter('   ');
  expect(screen.getByRole('alert').textContent).toBe('Please enter a name.');
  expect(input().getAttribute('aria-invalid')).toBe('true');
  expect(identity.get()).toBeNull();
  fireEvent.change(input(), { target: { value: 'A' } });
  expect(screen.queryByRole('alert')).toBeNull();
});

test('the name used last is suggested', () => {
  identity.setName('Ada');
  identity.clear();
  render(<IdentityForm byToken={false} />);
  expect(input().value).toBe('Ada');
});

test('a token is not shown on the screen, and an expired or broken one is refused here', () => {
  const encode = (value: unknown) => btoa(JSON.stringify(value)).replaceAll('=', '');
  render(<IdentityForm byToken />);
  expect(input().type).toBe('password');
  enter('nonsense');
  expect(screen.getByRole('alert').textContent).toBe('This is not a valid access token.');
  enter(`h.${encode({ sub: 'ann', exp: 1 })}.s`);
  expect(screen.getByRole('alert').textContent).toBe('This token has expired.');
  enter(` h.${encode({ sub: 'ann' })}.s `);
  expect(identity.get()?.userId).toBe('ann');
});
