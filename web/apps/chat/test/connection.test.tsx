import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';

import { NetworkError, RefusedError } from '@roomcast/react';
import type { ConnectionDisplay } from '../src/connection/connection.ts';
import { ConnectionBanner } from '../src/connection/ConnectionBanner.tsx';
import { ConnectionIndicator } from '../src/connection/ConnectionIndicator.tsx';

const onSignIn = vi.fn();

function banner(connection: ConnectionDisplay): string | undefined {
  cleanup();
  render(<ConnectionBanner connection={connection} onSignIn={onSignIn} />);
  return screen.queryByTestId('connection-banner')?.textContent;
}

afterEach(cleanup);

test('the banner is empty during a first connection and a short interruption', () => {
  expect(banner({ state: 'connected', lost: false, overdue: false, error: null })).toBeUndefined();
  expect(banner({ state: 'connecting', lost: false, overdue: false, error: null })).toBeUndefined();
  expect(banner({ state: 'reconnecting', lost: false, overdue: false, error: new NetworkError('x') })).toBeUndefined();
});

test('the banner shows a longer interruption, and the offline state', () => {
  expect(banner({ state: 'reconnecting', lost: true, overdue: true, error: null })).toContain('Reconnecting');
  expect(banner({ state: 'reconnecting', lost: false, overdue: true, error: null })).toContain(
    'No live connection yet',
  );
  expect(banner({ state: 'offline', lost: false, overdue: false, error: null })).toContain('You are offline');
});

test('a user whose token is rejected can sign in again', () => {
  const error = new RefusedError({ code: 'unauthorized', message: 'the token has expired' });
  expect(banner({ state: 'disconnected', lost: false, overdue: false, error })).toContain('Please sign in again.');
  fireEvent.click(screen.getByRole('button', { name: 'Sign in' }));
  expect(onSignIn).toHaveBeenCalledTimes(1);
});

test.each(['connected', 'connecting', 'reconnecting', 'disconnected', 'offline'] as const)(
  'the indicator shows the state %s as an attribute and as text',
  (state) => {
    render(<ConnectionIndicator state={state} />);
    const indicator = screen.getByTestId('connection-state');
    expect(indicator.dataset['state']).toBe(state);
    expect(indicator.textContent).not.toBe('');
  },
);
