import { act, cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';

import { identity } from '../../src/identity/identity.ts';
import { IdentityForm } from '../../src/identity/IdentityForm.tsx';
import { shared, userKey } from '../../src/storage/storage.ts';

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

test('another user who signs in after a rejected token leaves nothing of the previous one', () => {
  const tokenOf = (sub: string) => `x.${btoa(JSON.stringify({ sub }))}.x`;
  identity.setToken(tokenOf('ann'));
  shared.set(userKey('ann', 'draft', 'c'), 'half a thought');
  shared.set(userKey('bob', 'draft', 'c'), 'mine');
  localStorage.setItem('roomcast:unsent:c:ann:1', '{}');
  identity.removeToken();
  render(<IdentityForm authEnabled />);
  const confirm = vi.spyOn(window, 'confirm').mockReturnValue(false);
  enter(tokenOf('bob'));
  expect(confirm).toHaveBeenCalledWith('A message of ann has not been sent. Delete it and leave?');
  expect(identity.get()).toEqual({ userId: 'ann', token: null });
  expect(localStorage).toHaveLength(3);
  confirm.mockReturnValue(true);
  enter(tokenOf('bob'));
  expect(identity.get()?.userId).toBe('bob');
  expect(Object.keys(localStorage)).toEqual([`roomcast.${userKey('bob', 'draft', 'c')}`]);
});

test('a user whose token was rejected finds drafts again', () => {
  const token = `x.${btoa(JSON.stringify({ sub: 'ann' }))}.x`;
  identity.setToken(token);
  shared.set(userKey('ann', 'draft', 'c'), 'half a thought');
  identity.removeToken();
  render(<IdentityForm authEnabled />);
  enter(token);
  expect(identity.get()).toEqual({ userId: 'ann', token });
  expect(shared.get(userKey('ann', 'draft', 'c'))).toBe('half a thought');
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
