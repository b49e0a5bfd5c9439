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

test('signs in by a trimmed name', () => {
  render(<IdentityForm authEnabled={false} />);
  enter('  Ada ');
  expect(identity.get()).toEqual({ userId: 'Ada', token: null });
});

test('an empty name shows an error until the next change', () => {
  render(<IdentityForm authEnabled={false} />);
  enter('   ');
  expect(screen.getByRole('alert').textContent).toBe('Please enter a name.');
  expect(input().getAttribute('aria-invalid')).toBe('true');
  expect(identity.get()).toBeNull();
  fireEvent.change(input(), { target: { value: 'A' } });
  expect(screen.queryByRole('alert')).toBeNull();
});

test('suggests the name used last', () => {
  identity.setName('Ada');
  identity.clear();
  render(<IdentityForm authEnabled={false} />);
  expect(input().value).toBe('Ada');
});

test('a token is masked; a text that is none is rejected, and the expiry is left to the server', () => {
  const encode = (value: unknown) => btoa(JSON.stringify(value)).replaceAll('=', '');
  render(<IdentityForm authEnabled />);
  expect(input().type).toBe('password');
  enter('nonsense');
  expect(screen.getByRole('alert').textContent).toBe('This is not a valid access token.');
  enter(` h.${encode({ sub: 'ann', exp: 1 })}.s `);
  expect(identity.get()?.userId).toBe('ann');
});
