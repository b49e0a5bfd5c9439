import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';

import { NetworkError, RefusedError } from '@roomcast/react';
import type { Connection } from '../src/connection/connection.ts';
import { ConnectionBanner } from '../src/connection/ConnectionBanner.tsx';
import { ConnectionIndicator } from '../src/connection/ConnectionIndicator.tsx';

const onSignOut = vi.fn();

function banner(connection: Connection): string | undefined {
  cleanup();
  render(<ConnectionBanner connection={connection} onSignOut={onSignOut} />);
  return screen.queryByTestId('connection-banner')?.textContent;
}

afterEach(cleanup);

test('a short drop and a first connection are nothing to tell', () => {
  expect(banner({ reach: 'connected', lost: false, overdue: false, error: null })).toBeUndefined();
  expect(banner({ reach: 'connecting', lost: false, overdue: false, error: null })).toBeUndefined();
  expect(banner({ reach: 'reconnecting', lost: false, overdue: false, error: new NetworkError('x') })).toBeUndefined();
});

test('a longer one is told, and so is being offline', () => {
  expect(banner({ reach: 'reconnecting', lost: true, overdue: true, error: null })).toContain('Reconnecting');
  expect(banner({ reach: 'reconnecting', lost: false, overdue: true, error: null })).toContain(
    'No live connection yet',
  );
  expect(banner({ reach: 'offline', lost: false, overdue: false, error: null })).toContain('You are offline');
});

test('who is refused for want of a good token can sign in again', () => {
  const error = new RefusedError({ code: 'unauthorized', message: 'the token has expired' });
  expect(banner({ reach: 'disconnected', lost: false, overdue: false, error })).toContain('Please sign in again.');
  fireEvent.click(screen.getByRole('button', { name: 'Sign in' }));
  expect(onSignOut).toHaveBeenCalledTimes(1);
});

test.each(['connected', 'connecting', 'reconnecting', 'disconnected', 'offline'] as const)(
  'the state %s is there for tests and in words',
  (reach) => {
    render(<ConnectionIndicator reach={reach} />);
    const indicator = screen.getByTestId('connection-state');
    expect(indicator.dataset['state']).toBe(reach);
    expect(indicator.textContent).not.toBe('');
  },
);
