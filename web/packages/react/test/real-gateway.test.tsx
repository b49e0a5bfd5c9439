/** The hooks under StrictMode against a real `roomcast up`. */
import { act, cleanup, render, screen, waitFor } from '@testing-library/react';
import { type ReactNode, StrictMode } from 'react';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { RealServer, TcpProxy } from '../../client/test/support/real-server.ts';
import { createClient, RoomcastProvider, useChat, useChatWebSocket, type WebSocketClient } from '../src/index.ts';

let server: RealServer;
const clients: WebSocketClient[] = [];

beforeAll(async () => {
  server = await RealServer.start();
}, 40_000);

afterEach(() => {
  cleanup();
  for (const client of clients.splice(0)) client.close();
});

afterAll(() => server.stop());

function newClient(gatewayUrl = server.gatewayUrl): WebSocketClient {
  const client = createClient({ apiUrl: server.apiUrl, gatewayUrl });
  clients.push(client);
  return client;
}

function Chat({ name, chatId }: { name: string; chatId: string }): ReactNode {
  const { messages, synced, sendMessage } = useChat(chatId);
  return (
    <section aria-label={name}>
      <output>{synced ? 'synced' : 'waiting'}</output>
      <button onClick={() => void sendMessage(`from ${name}`)}>{`send as ${name}`}</button>
      <ol>
        {messages.map(({ key, content, userId, status }) => (
          <li key={key}>{`${userId}: ${content} (${status})`}</li>
        ))}
      </ol>
    </section>
  );
}

function mount(client: WebSocketClient, name: string, chatId: string): void {
  render(
    <StrictMode>
      <RoomcastProvider client={client} userId={name}>
        <Chat name={name} chatId={chatId} />
      </RoomcastProvider>
    </StrictMode>,
  );
}

function linesOf(name: string): string[] {
  return [...screen.getByRole('region', { name }).querySelectorAll('li')].map((line) => line.textContent);
}

const slow = { timeout: 10_000 };

test('two users chat, one of them through a network failure', async () => {
  const proxy = await TcpProxy.to(server.gatewayPort);
  mount(newClient(proxy.url), 'ada', 'tea');
  mount(newClient(), 'bob', 'tea');
  await waitFor(() => expect(screen.getAllByText('synced')).toHaveLength(2), slow);
  act(() => screen.getByText('send as ada').click());
  act(() => screen.getByText('send as bob').click());
  await waitFor(() => expect(linesOf('ada')).toHaveLength(2), slow);
  await waitFor(() => expect(linesOf('bob')).toEqual(linesOf('ada')), slow);

  proxy.cut();
  await waitFor(() => screen.getByText('waiting'), slow);
  act(() => screen.getByText('send as bob').click());
  await waitFor(() => expect(linesOf('bob')).toHaveLength(3), slow);
  proxy.restore();
  await waitFor(() => expect(linesOf('ada')).toEqual(linesOf('bob')), slow);
  expect(linesOf('ada').at(-1)).toBe('bob: from bob (sent)');
}, 40_000);

test('the guide’s component works unchanged', async () => {
  const client = newClient();
  const received: string[] = [];
  function ChatComponent({ chatId }: { chatId: string }): ReactNode {
    const userId = 'ada';
    const { isConnected, useMessageListener } = useChatWebSocket(userId, chatId);
    useMessageListener((message) => {
      received.push(message.content);
    });
    return <div>{isConnected ? ' 已連接' : ' 未連接'}</div>;
  }
  render(
    <StrictMode>
      <RoomcastProvider client={client}>
        <ChatComponent chatId="guide" />
      </RoomcastProvider>
    </StrictMode>,
  );
  await waitFor(() => screen.getByText('已連接'), slow);
  let posted = 0;
  await waitFor(async () => {
    await server.post('guide', `m${(posted += 1)}`);
    expect(received.length).toBeGreaterThan(0);
  }, slow);
  await waitFor(() => expect(received.at(-1)).toBe(`m${posted}`), slow);
  expect(new Set(received).size).toBe(received.length);
}, 40_000);
