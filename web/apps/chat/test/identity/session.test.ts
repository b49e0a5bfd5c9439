import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import type * as Session from '../../src/identity/session.ts';

let session: typeof Session;
const fetchMock = vi.fn<typeof fetch>();

beforeEach(async () => {
  vi.resetModules();
  vi.useFakeTimers({ toFake: ['performance'] });
  vi.stubGlobal('fetch', fetchMock);
  fetchMock.mockReset();
  session = await import('../../src/identity/session.ts');
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function respond(status: number, body: unknown = {}): void {
  fetchMock.mockImplementation(() => Promise.resolve(new Response(JSON.stringify(body), { status })));
}

test('a token is requested once and kept for a part of its lifetime', async () => {
  respond(200, { token: 't1', expiresIn: 600 });
  expect(await Promise.all([session.sessionToken(), session.sessionToken()])).toEqual(['t1', 't1']);
  vi.advanceTimersByTime(419_000);
  expect(await session.sessionToken()).toBe('t1');
  expect(fetchMock).toHaveBeenCalledOnce();
  expect(fetchMock).toHaveBeenCalledWith('/api/auth/token', expect.objectContaining({ method: 'POST' }));
  respond(200, { token: 't2', expiresIn: 600 });
  vi.advanceTimersByTime(2_000);
  expect(await session.sessionToken()).toBe('t2');
});

test('without a session there is no token, and a failure of the server is no end of the session', async () => {
  respond(401);
  expect(await session.sessionToken()).toBeNull();
  respond(503);
  await expect(session.sessionToken()).rejects.toThrow('503');
  respond(200, { token: 't3', expiresIn: 600 });
  expect(await session.sessionToken()).toBe('t3');
});

test('the end of the session forgets the token', async () => {
  respond(200, { token: 't1', expiresIn: 600 });
  await session.sessionToken();
  fetchMock.mockImplementation(() => Promise.resolve(new Response(null, { status: 204 })));
  await session.endSession();
  expect(fetchMock).toHaveBeenLastCalledWith('/api/auth/logout', expect.objectContaining({ method: 'POST' }));
  respond(401);
  expect(await session.sessionToken()).toBeNull();
});

test('a sign-out that the server does not confirm is an error', async () => {
  respond(503);
  await expect(session.endSession()).rejects.toThrow('503');
});

test('the sign-in returns to the page that began it', () => {
  expect(session.signInUrl('/c/caf%C3%A9')).toBe('/api/auth/login?return=%2Fc%2Fcaf%25C3%25A9');
  expect(session.signInUrl('/')).toBe('/api/auth/login?return=%2F');
});
