/** The hooks under StrictMode, on a client with a fake network and clock. */
import { act, cleanup, render, renderHook, screen } from '@testing-library/react';
import { type ReactNode, StrictMode, useEffect, useState } from 'react';
import { renderToString } from 'react-dom/server';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FakeServer } from '../../client/test/support/fake-server.ts';
import {
  type ChatMessage,
  ConnectionState,
  createClient,
  RoomcastProvider,
  useChat,
  useChats,
  useChatWebSocket,
  useConnection,
  useConnectionState,
  useMessageListener,
  usePresence,
  useSearch,
  useRoomcastClient,
  useTyping,
  useWebSocket,
  type WebSocketClient,
  websocketClient,
} from '../src/index.ts';

let server: FakeServer;
let client: WebSocketClient;

beforeEach(() => {
  server = new FakeServer();
  client = createClient({ runtime: server.runtime, pageSize: 50 });
});

afterEach(() => {
  cleanup();
  client.close();
});

function advance(ms: number): Promise<void> {
  return act(() => server.clock.advance(ms));
}

function Strict({ children }: { children: ReactNode }): ReactNode {
  return (
    <StrictMode>
      <RoomcastProvider client={client}>{children}</RoomcastProvider>
    </StrictMode>
  );
}

function StrictAsAda({ children }: { children: ReactNode }): ReactNode {
  return (
    <StrictMode>
      <RoomcastProvider client={client} userId="ada">
        {children}
      </RoomcastProvider>
    </StrictMode>
  );
}

describe('useWebSocket', () => {
  test('renders each state of one connection', async () => {
    const states: string[] = [];
    function Status(): ReactNode {
      const { connectionState, isConnected } = useWebSocket('ada');
      useEffect(() => void states.push(connectionState), [connectionState]);
      return <p>{`${connectionState} ${isConnected}`}</p>;
    }
    render(<Status />, { wrapper: Strict });
    await advance(50);
    screen.getByText('connected true');
    act(() => server.cut());
    screen.getByText('reconnecting false');
    await advance(2_000);
    screen.getByText('connected true');
    expect(server.sockets).toHaveLength(2); // One before and one after the cut; the remount of StrictMode opened none.
    expect(new Set(states)).toEqual(new Set(['disconnected', 'connecting', 'connected', 'reconnecting']));
  });

  test('the connection stays open until the last of two components unmounts', async () => {
    const first = renderHook(() => useWebSocket('ada'), { wrapper: Strict });
    const second = renderHook(() => useWebSocket('ada'), { wrapper: Strict });
    await advance(50);
    first.unmount();
    await advance(50);
    expect(second.result.current.isConnected).toBe(true);
    second.unmount();
    await advance(50);
    expect(client.connectionState).toBe(ConnectionState.DISCONNECTED);
    expect(server.sockets).toHaveLength(1);
  });

  test('does not connect without a user, and reconnects as another user', async () => {
    const { result, rerender } = renderHook(({ userId }: { userId: string | undefined }) => useWebSocket(userId), {
      wrapper: Strict,
      initialProps: { userId: undefined as string | undefined },
    });
    await advance(1_000);
    expect(server.sockets).toHaveLength(0);
    rerender({ userId: 'ada' });
    await advance(50);
    expect(client.currentUserId).toBe('ada');
    rerender({ userId: 'bob' });
    await advance(500);
    expect(client.currentUserId).toBe('bob');
    expect(result.current.isConnected).toBe(true);
    expect(await result.current.ping()).toBe('pong');
  });

  test('returns stable functions', async () => {
    const { result } = renderHook(() => useWebSocket('ada'), { wrapper: Strict });
    const { reconnect, joinChat, ping, on } = result.current;
    await advance(50);
    expect(result.current).toMatchObject({ reconnect, joinChat, ping, on });
  });
});

describe('useChatWebSocket', () => {
  test('joins, calls an inline handler once per message, and does not subscribe again', async () => {
    const seen: string[] = [];
    const on = vi.spyOn(client, 'on');
    function Listener({ chatId }: { chatId: string }): ReactNode {
      const [count, setCount] = useState(0);
      const { isConnected, useMessageListener: useListener } = useChatWebSocket('ada', chatId);
      useListener((message) => {
        seen.push(`${count}:${message.content}`); // The latest count: no stale closure.
        setCount((before) => before + 1);
      });
      return <p>{isConnected ? `count ${count}` : 'away'}</p>;
    }
    const view = render(<Listener chatId="a" />, { wrapper: Strict });
    await advance(50);
    const subscriptions = on.mock.calls.length;
    for (const content of ['one', 'two', 'three']) act(() => void server.post('a', content));
    screen.getByText('count 3');
    expect(seen).toEqual(['0:one', '1:two', '2:three']);
    expect(on).toHaveBeenCalledTimes(subscriptions);

    view.rerender(<Listener chatId="b" />);
    await advance(50);
    expect(server.socket.rooms).toEqual(new Set(['b']));
    act(() => void server.post('a', 'of a'));
    act(() => server.cut());
    server.post('b', 'missed');
    await advance(2_000);
    expect(seen.at(-1)).toBe('3:missed');
    expect(seen).toHaveLength(4);
  });

  test('messages that arrive in one turn all reach the handler, without batching', async () => {
    const seen: ChatMessage[] = [];
    renderHook(() => useChatWebSocket('ada', 'a').useMessageListener((message) => void seen.push(message)), {
      wrapper: Strict,
    });
    await advance(50);
    act(() => {
      for (let index = 0; index < 100; index += 1) server.post('a', `${index}`);
    });
    expect(seen.map(({ content }) => Number(content))).toEqual(Array.from({ length: 100 }, (_, index) => index));
  });
});

describe('useChat', () => {
  test('shows stored, live and own messages, without unnecessary renders', async () => {
    server.post('a', 'before');
    let renders = 0;
    const { result } = renderHook(
      () => {
        renders += 1;
        return useChat('a');
      },
      { wrapper: StrictAsAda },
    );
    expect(result.current).toMatchObject({ status: 'loading', messages: [], synced: false });
    await advance(50);
    expect(result.current).toMatchObject({ status: 'ready', synced: true, hasOlder: false, error: null });
    const settled = renders;
    act(() => {
      server.post('other', 'elsewhere');
      server.post('a', 'live');
    });
    expect(renders - settled).toBeLessThanOrEqual(2); // StrictMode renders twice.
    let sending: Promise<unknown> = Promise.resolve();
    act(() => {
      sending = result.current.sendMessage('mine');
    });
    expect(result.current.messages.at(-1)).toMatchObject({ content: 'mine', status: 'sending' });
    await advance(10);
    await sending;
    expect(result.current.messages.map(({ content, status }) => [content, status])).toEqual([
      ['before', 'sent'],
      ['live', 'sent'],
      ['mine', 'sent'],
    ]);
    expect(server.requests.filter(({ path }) => path.includes('/messages?'))).toHaveLength(1);
  });

  test('leaves the previous chat on a change, without showing its messages in the next one', async () => {
    server.post('a', 'of a');
    server.post('b', 'of b');
    const shown: string[][] = [];
    const inA: { chatId: string | null } = { chatId: 'a' };
    const { rerender, result, unmount } = renderHook(
      ({ chatId }: typeof inA) => {
        const { messages } = useChat(chatId);
        shown.push(messages.map(({ content }) => `${chatId} ${content}`));
        return messages;
      },
      { wrapper: StrictAsAda, initialProps: inA },
    );
    await advance(50);
    rerender({ chatId: 'b' });
    await advance(50);
    expect(result.current.map(({ content }) => content)).toEqual(['of b']);
    expect(server.socket.rooms).toEqual(new Set(['b']));
    expect(shown.flat()).not.toContain('b of a');
    rerender({ chatId: null });
    await advance(50);
    expect(result.current).toEqual([]);
    expect(server.socket.rooms.size).toBe(0);
    unmount();
  });

  test('two views of one chat share its feed', async () => {
    const first = renderHook(() => useChat('a'), { wrapper: StrictAsAda });
    const second = renderHook(() => useChat('a'), { wrapper: StrictAsAda });
    await advance(50);
    first.unmount();
    await advance(50);
    act(() => void server.post('a', 'still here'));
    expect(second.result.current.messages).toHaveLength(1);
    expect(server.socket.sent.filter(([event]) => event === 'join-chat')).toHaveLength(1);
  });

  test('sends no request while skip is true', async () => {
    const { result } = renderHook(() => useChat('a', { skip: true }), { wrapper: StrictAsAda });
    await advance(50);
    expect(result.current.status).toBe('idle');
    expect(server.requests.filter(({ path }) => path.includes('/chats/'))).toEqual([]);
    expect(() => result.current.sendMessage('x')).toThrow('no chat');
  });
});

describe('the provider', () => {
  test('without one the guide’s singleton is used', () => {
    expect(renderHook(() => useRoomcastClient()).result.current).toBe(websocketClient);
  });

  test('holds the connection of its user, and reports it as lost', async () => {
    const { result } = renderHook(() => ({ connection: useConnection(), state: useConnectionState() }), {
      wrapper: StrictAsAda,
    });
    await advance(50);
    expect(result.current.connection).toMatchObject({ state: 'connected', userId: 'ada', lost: false, error: null });
    server.connectionFault = 'unreachable';
    act(() => server.cut());
    await advance(3_000);
    expect(result.current.connection).toMatchObject({ state: 'reconnecting', lost: true });
    expect(result.current.state).toBe(ConnectionState.RECONNECTING);
  });

  test('useMessageListener receives the messages of a chat shown by useChat', async () => {
    const seen: string[] = [];
    renderHook(
      () => {
        useChat('a');
        useMessageListener(({ content }) => void seen.push(content));
      },
      { wrapper: StrictAsAda },
    );
    await advance(50);
    act(() => void server.post('a', 'hello'));
    expect(seen).toEqual(['hello']);
  });
});

test('useChats reports the state of the chat list', async () => {
  const { result } = renderHook(() => useChats(), { wrapper: StrictAsAda });
  await advance(50);
  expect(result.current).toMatchObject({ chats: [], hasMore: false });
  expect(result.current.error).toMatchObject({ status: 404 }); // The fake server has no chat list.
});

test('server rendering is disconnected, has no data and sends no request', () => {
  function Page(): ReactNode {
    const { status, messages } = useChat('a');
    const { connectionState } = useWebSocket('ada');
    const { chats } = useChats();
    return <p>{[status, messages.length, connectionState, chats.length, useConnection().state].join(' ')}</p>;
  }
  expect(renderToString(<RoomcastProvider client={client}>{<Page />}</RoomcastProvider>)).toBe(
    '<p>idle 0 disconnected 0 disconnected</p>',
  );
  expect(server.requests).toEqual([]);
});

describe('presence and typing', () => {
  function ParticipantsOf({ chatId }: { chatId: string | null }): ReactNode {
    const { online, stale } = usePresence(chatId);
    const typing = useTyping(chatId);
    return <p>{`${online.join()} ${stale ? 'stale' : 'known'} ${typing.join()}`}</p>;
  }

  test('reach every component of the chat, and a presence change does not render a component of useTyping', async () => {
    const rendered = vi.fn();
    function Line(): ReactNode {
      const typing = useTyping('c');
      useEffect(rendered);
      return <i>{typing.join()}</i>;
    }
    render(
      <>
        <ParticipantsOf chatId="c" />
        <Line />
      </>,
      { wrapper: StrictAsAda },
    );
    await advance(50);
    screen.getByText('stale', { normalizer: (text) => text.trim() });
    rendered.mockClear();
    act(() => server.sendToRoom('c', 'presence', { online: ['ada', 'bob'], offline: [], reset: true }));
    screen.getByText('ada,bob known', { normalizer: (text) => text.trim() });
    expect(rendered).not.toHaveBeenCalled();
    act(() => server.sendToRoom('c', 'typing', { userId: 'bob', typing: true }));
    screen.getByText('ada,bob known bob');
    screen.getByText('bob');
    await advance(6_000);
    screen.getByText('ada,bob known', { normalizer: (text) => text.trim() });
    expect(server.socket.sent.filter(([event]) => event === 'join-chat')).toHaveLength(1);
  });

  test('are empty without a chat and in server rendering', () => {
    render(<ParticipantsOf chatId={null} />, { wrapper: StrictAsAda });
    screen.getByText('stale', { normalizer: (text) => text.trim() });
    const html = renderToString(
      <RoomcastProvider client={client}>
        <ParticipantsOf chatId="c" />
      </RoomcastProvider>,
    );
    expect(html).toBe('<p> stale </p>');
    expect(server.sockets).toHaveLength(0);
  });

  test('useChat returns both and sends typing; it joins once, after the load', async () => {
    server.post('c', 'hello');
    const { result, unmount } = renderHook(() => useChat('c'), { wrapper: StrictAsAda });
    await advance(50);
    act(() => {
      server.sendToRoom('c', 'presence', { online: ['ada', 'bob'], offline: [], reset: true });
      server.sendToRoom('c', 'typing', { userId: 'bob', typing: true });
    });
    expect(result.current).toMatchObject({ presence: { online: ['ada', 'bob'], stale: false }, typingUsers: ['bob'] });
    result.current.setTyping(true);
    expect(server.socket.sent.map(([event]) => event)).toEqual(['join-user', 'join-chat', 'typing']);
    expect(server.socket.sent[1]?.[1]).toMatchObject({ since: { seq: 1 } });
    unmount();
    await advance(50);
    expect(server.socket.rooms.has('c')).toBe(false);
  });

  test('a component that is mounted before useChat causes no second join', async () => {
    server.post('c', 'hello');
    function Both(): ReactNode {
      return (
        <>
          <ParticipantsOf chatId="c" />
          <p>{useChat('c').messages.length}</p>
        </>
      );
    }
    const { rerender } = render(<i />, { wrapper: StrictAsAda });
    await advance(50);
    rerender(<Both />);
    await advance(50);
    expect(server.socket.sent.map(([event]) => event)).toEqual(['join-user', 'join-chat']);
    expect(server.socket.sent[1]?.[1]).toMatchObject({ since: { seq: 1 } });
  });

  test('useChat with skip returns neither, and sends no typing', async () => {
    const { result } = renderHook(() => useChat('c', { skip: true }), { wrapper: StrictAsAda });
    await advance(50);
    expect(result.current).toMatchObject({ presence: { online: [], stale: true }, typingUsers: [] });
    result.current.setTyping(true);
    expect(server.socket.sent.map(([event]) => event)).toEqual(['join-user']);
  });
});

test('without words, a search for an author lists its newest messages in the chat', async () => {
  server.intercept = (_, url) =>
    url.pathname === '/api/search'
      ? new Response(JSON.stringify({ hits: [], nextCursor: null, complete: true }))
      : new Response(JSON.stringify({ messages: [message('m1', 'old'), message('m2', 'new')], hasMore: false }));
  const { result, rerender } = renderHook(({ text }) => useSearch(text, { chatId: 'c', author: 'bob' }), {
    initialProps: { text: ' ' },
    wrapper: Strict,
  });
  const found = (count: number) =>
    vi.waitFor(async () => {
      await advance(50);
      expect(result.current.hits).toHaveLength(count);
    });
  await found(2);
  expect(result.current.hits).toMatchObject([
    { messageId: 'm2', snippet: 'new', userId: 'bob' },
    { messageId: 'm1', snippet: 'old' },
  ]);
  rerender({ text: 'word' });
  await found(0);

  function message(id: string, content: string): object {
    return { id, chatId: 'c', role: 'USER', userId: 'bob', content, time: '2026-11-29T12:00:00Z', place: 1 };
  }
});
