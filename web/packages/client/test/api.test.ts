import { describe, expect, test } from 'vitest';
import { RoomcastApi } from '../src/api.ts';
import { backoffMs, MAX_DELAY_MS } from '../src/backoff.ts';
import { NetworkError, ProblemError } from '../src/errors.ts';
import { findGateway } from '../src/gateway-address.ts';
import type { Config } from '../src/generated/contract.ts';
import { platformRuntime } from '../src/runtime.ts';
import { problem } from './support/fake-server.ts';

function answering(
  answer: () => Promise<Response>,
  apiUrl: string | null = 'http://api.test/',
): { api: RoomcastApi; urls: string[] } {
  const urls: string[] = [];
  const fetch = (url: unknown): Promise<Response> => {
    urls.push(String(url));
    return answer();
  };
  return {
    api: new RoomcastApi(() => ({ apiUrl, getToken: null }), { ...platformRuntime, fetch: fetch }),
    urls,
  };
}

describe('the API', () => {
  test('escapes ids and leaves out what is not asked for', async () => {
    const { api, urls } = answering(() => Promise.resolve(new Response('{}')));
    await api.listMessages('a:b@c~d', { limit: 5 });
    await api.listEvents('x', { after: 0, epoch: 'e' });
    expect(urls).toEqual([
      'http://api.test/api/chats/a%3Ab%40c~d/messages?limit=5',
      'http://api.test/api/chats/x/events?after=0&epoch=e',
    ]);
  });

  test('outside of a browser is where the guide puts it', async () => {
    const { api, urls } = answering(() => Promise.resolve(new Response('{}')), null);
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
  ])('an answer %i may pass: %s', async (status, retryable) => {
    const { api } = answering(() => Promise.resolve(problem(status, 'invalid')));
    await expect(api.config()).rejects.toMatchObject({ name: 'ProblemError', status, code: 'invalid', retryable });
  });

  test('an error that is not Roomcast’s own keeps its status', async () => {
    const html = answering(() => Promise.resolve(new Response('<h1>Bad gateway</h1>', { status: 502 })));
    await expect(html.api.config()).rejects.toEqual(new ProblemError(502, {}));
    const cut = new Response('{"title":', { status: 503, headers: { 'content-type': 'application/json' } });
    await expect(answering(() => Promise.resolve(cut)).api.config()).rejects.toMatchObject({ status: 503, code: null });
  });

  test('no answer, or one that cannot be read, is a NetworkError with its cause', async () => {
    const cause = new TypeError('failed to fetch');
    await expect(answering(() => Promise.reject(cause)).api.config()).rejects.toMatchObject({
      name: 'NetworkError',
      cause,
    });
    const truncated = answering(() => Promise.resolve(new Response('{')));
    await expect(truncated.api.config()).rejects.toBeInstanceOf(NetworkError);
  });
});

describe('the gateway', () => {
  const config = (gateway: Config['gateway']): Pick<RoomcastApi, 'config'> => ({
    config: () => Promise.resolve({ auth: false, epoch: 'e', version: '0', gateway }),
  });
  const nowhere = { gatewayUrl: null, apiUrl: null, pageOrigin: null };

  test.each([
    ['what the options say', { ...nowhere, gatewayUrl: 'https://ws.test' }, { url: null, port: 1 }, 'https://ws.test'],
    [
      'what the API says',
      { ...nowhere, pageOrigin: 'https://a.test' },
      { url: 'https://ws.test', port: null },
      'https://ws.test',
    ],
    [
      'the page’s host with the API’s port',
      { ...nowhere, pageOrigin: 'http://10.0.0.7:3000' },
      { url: null, port: 3001 },
      'http://10.0.0.7:3001',
    ],
    ['the page’s origin', { ...nowhere, pageOrigin: 'https://a.test' }, { url: null, port: null }, 'https://a.test'],
    [
      'the API’s origin',
      { ...nowhere, apiUrl: 'https://api.test/base', pageOrigin: 'https://a.test' },
      { url: null, port: null },
      'https://api.test',
    ],
    [
      'the guide’s port outside of a browser',
      nowhere,
      { url: 'https://unasked.test', port: null },
      'http://localhost:3001',
    ],
  ])('is %s', async (_name, options, gateway, expected) => {
    expect(await findGateway(options, config(gateway))).toBe(expected);
  });
});

describe('the backoff', () => {
  test('doubles to its cap and keeps its jitter there', () => {
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
