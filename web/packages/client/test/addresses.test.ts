import { describe, expect, test } from 'vitest';
import { findGateway } from '../src/connection/addresses.ts';
import { RoomcastApi } from '../src/api.ts';
import { type ClientOptions, createClient } from '../src/client.ts';
import { NetworkError } from '../src/errors.ts';
import type { Config } from '../src/generated/contract.ts';
import { platformRuntime } from '../src/platform/runtime.ts';
import { FakeServer, json } from './support/fake-server.ts';

/** The URL that the API requests for its configuration. */
async function requested(apiUrl: string | null, pageOrigin: string | null): Promise<string | undefined> {
  const urls: string[] = [];
  const fetch = (url: unknown): Promise<Response> => {
    urls.push(String(url));
    return Promise.resolve(new Response('{}'));
  };
  const runtime = { ...platformRuntime, fetch, pageOrigin: () => pageOrigin };
  await new RoomcastApi(() => ({ apiUrl, getToken: null }), runtime).config();
  return urls[0];
}

test.each([
  [null, null, 'http://localhost:3000'],
  [null, 'https://page.test', 'https://page.test'],
  ['https://api.test', null, 'https://api.test'],
  ['https://api.test:8443/chat', null, 'https://api.test:8443/chat'],
  ['https://api.test/a/b//', 'https://page.test', 'https://api.test/a/b'],
  ['//api.test/chat/', 'https://page.test', 'https://api.test/chat'],
  ['/chat', 'https://page.test', 'https://page.test/chat'],
  ['/', 'https://page.test', 'https://page.test'],
  ['', 'https://page.test', 'https://page.test'],
])('with the apiUrl %s on the page %s, the API is below %s', async (apiUrl, pageOrigin, expected) => {
  expect(await requested(apiUrl, pageOrigin)).toBe(`${expected}/api/config`);
});

test('a path as apiUrl outside a browser is an error that says what to do', async () => {
  createClient({ apiUrl: '/chat' }); // no error: a server may render a page that creates a client
  const failed = requested('/chat', null);
  await expect(failed).rejects.toBeInstanceOf(NetworkError);
  await expect(failed).rejects.toThrow('apiUrl must be a URL such as https://host/chat, without a user');
});

describe('the gateway is at', () => {
  const config = (gateway: Config['gateway']): Pick<RoomcastApi, 'config'> => ({
    config: () => Promise.resolve({ auth: false, signIn: false, files: null, epoch: 'e', version: '0', gateway }),
  });
  const onPage = { gatewayUrl: null, apiUrl: null, pageOrigin: 'http://10.0.0.7:3000' };
  const samePort = { url: null, port: null };
  const at = (url: string, path = ''): unknown => ({ url, path: `${path}/socket.io/` });

  test.each([
    ['the option', { gatewayUrl: 'https://ws.test' }, samePort, at('https://ws.test')],
    ['the option, a websocket URL', { gatewayUrl: 'wss://ws.test/' }, samePort, at('wss://ws.test')],
    ['the option’s path', { gatewayUrl: 'https://ws.test/chat' }, samePort, at('https://ws.test', '/chat')],
    [
      'the option’s path without its end',
      { gatewayUrl: 'https://ws.test/a/b/' },
      samePort,
      at('https://ws.test', '/a/b'),
    ],
    [
      'the option, with its query',
      { gatewayUrl: 'https://[::1]:3001/c/?zone=a' },
      samePort,
      at('https://[::1]:3001?zone=a', '/c'),
    ],
    ['the option’s path on the page', { gatewayUrl: '/chat' }, samePort, at('http://10.0.0.7:3000', '/chat')],
    ['the URL in the configuration', {}, { url: 'https://ws.test/chat', port: null }, at('https://ws.test', '/chat')],
    ['the page’s host with the configured port', {}, { url: null, port: 3001 }, at('http://10.0.0.7:3001')],
    ['the page’s origin', {}, samePort, at('http://10.0.0.7:3000')],
    ['the API’s URL', { apiUrl: 'https://api.test/chat/' }, samePort, at('https://api.test', '/chat')],
    [
      'the API’s URL with the configured port',
      { apiUrl: '/chat' },
      { url: null, port: 3001 },
      at('http://10.0.0.7:3001', '/chat'),
    ],
    [
      'the guide’s port outside a browser',
      { pageOrigin: null },
      { url: 'https://unused.test', port: null },
      at('http://localhost:3001'),
    ],
  ])('%s', async (_name, options, gateway, expected) => {
    expect(await findGateway({ ...onPage, ...options }, config(gateway))).toEqual(expected);
  });
});

test('the client connects below the path of its API', async () => {
  const server = new FakeServer();
  const config: Config = {
    auth: false,
    signIn: false,
    files: null,
    epoch: 'e',
    version: '0',
    gateway: { url: null, port: null },
  };
  server.intercept = (_method, { href }) => (href === 'http://page.test/chat/api/config' ? json(config) : undefined);
  const client = createClient({ apiUrl: '/chat', runtime: server.runtime });
  const connected = client.connect('ada');
  await server.clock.advance(1_000);
  await connected;
  expect(server.socket).toMatchObject({ url: 'http://page.test', path: '/chat/socket.io/' });
  client.close();
});

test.each<ClientOptions>([
  { gatewayUrl: 'ws.test:3001/chat' },
  { gatewayUrl: 'chat' },
  { gatewayUrl: 'ftp://ws.test' },
  { gatewayUrl: 'https://ada:secret@ws.test' },
  { gatewayUrl: 'https://ada:secret@ws.test:port' },
  { apiUrl: 'localhost:3000' },
  { apiUrl: 'undefined/api' },
  { apiUrl: './chat' },
  { apiUrl: 'https://host:port/chat' },
  { apiUrl: 'https://' },
  { apiUrl: 'wss://api.test' },
  { apiUrl: 'https://api.test/?a=b' },
])('the options %j are rejected at once, without their text', (options) => {
  const [name] = Object.keys(options);
  for (const use of [createClient, (changed: ClientOptions) => createClient().configure(changed)]) {
    const message = `${name} must be a URL such as https://host/chat, or a path such as /chat, without a user`;
    expect(() => use(options)).toThrow(new TypeError(message));
  }
});
