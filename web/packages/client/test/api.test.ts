import { describe, expect, test } from 'vitest';
import { RoomcastApi } from '../src/api.ts';
import { backoffMs, MAX_DELAY_MS } from '../src/connection/backoff.ts';
import { NetworkError, ProblemError } from '../src/errors.ts';
import { platformRuntime } from '../src/platform/runtime.ts';
import { problem } from './support/fake-server.ts';

function apiWith(
  respond: () => Promise<Response>,
  apiUrl: string | null = 'http://api.test/',
): { api: RoomcastApi; urls: string[] } {
  const urls: string[] = [];
  const fetch = (url: unknown): Promise<Response> => {
    urls.push(String(url));
    return respond();
  };
  return {
    api: new RoomcastApi(() => ({ apiUrl, getToken: null }), { ...platformRuntime, fetch: fetch }),
    urls,
  };
}

describe('the API', () => {
  test('escapes ids and omits parameters that are not set', async () => {
    const { api, urls } = apiWith(() => Promise.resolve(new Response('{}')));
    await api.listMessages('a:b@c~d', { limit: 5 });
    await api.listEvents('x', { after: 0, epoch: 'e' });
    expect(urls).toEqual([
      'http://api.test/api/chats/a%3Ab%40c~d/messages?limit=5',
      'http://api.test/api/chats/x/events?after=0&epoch=e',
    ]);
  });

  test('has the guide’s URL outside a browser', async () => {
    const { api, urls } = apiWith(() => Promise.resolve(new Response('{}')), null);
    await api.config();
    expect(urls).toEqual(['http://localhost:3000/api/config']);
  });

  test.each([
    [422, false],
    [429, true],
    [408, true],
    [500, true],
    [501, false],
    [503, true],
    [404, false],
  ])('a response with status %i has retryable: %s', async (status, retryable) => {
    const { api } = apiWith(() => Promise.resolve(problem(status, 'invalid')));
    await expect(api.config()).rejects.toMatchObject({ name: 'ProblemError', status, code: 'invalid', retryable });
  });

  test('an error response that is not from Roomcast keeps its status', async () => {
    const html = apiWith(() => Promise.resolve(new Response('<h1>Bad gateway</h1>', { status: 502 })));
    await expect(html.api.config()).rejects.toEqual(new ProblemError(502, {}));
    const truncated = new Response('{"title":', { status: 503, headers: { 'content-type': 'application/json' } });
    await expect(apiWith(() => Promise.resolve(truncated)).api.config()).rejects.toMatchObject({
      status: 503,
      code: null,
    });
  });

  test('a missing or unreadable response is a NetworkError with its cause', async () => {
    const cause = new TypeError('failed to fetch');
    await expect(apiWith(() => Promise.reject(cause)).api.config()).rejects.toMatchObject({
      name: 'NetworkError',
      cause,
    });
    const truncated = apiWith(() => Promise.resolve(new Response('{')));
    await expect(truncated.api.config()).rejects.toBeInstanceOf(NetworkError);
  });
});

describe('the backoff', () => {
  test('doubles up to its maximum, where the jitter still applies', () => {
    expect([1, 2, 3, 4, 5, 100].map((attempt) => backoffMs(attempt, 0))).toEqual([
      250, 500, 1_000, 2_000, 2_500, 2_500,
    ]);
    expect([1, 2, 3, 4, 5, 100].map((attempt) => backoffMs(attempt, 0.999_999))).toEqual([
      500,
      1_000,
      2_000,
      4_000,
      MAX_DELAY_MS,
      MAX_DELAY_MS,
    ]);
  });
});
