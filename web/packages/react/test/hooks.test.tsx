/** The hooks under StrictMode, on a client whose network and clock the test owns. */
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
    expect(server.sockets).toHaveLength(2); // One before and one after the cut: StrictMode's remount opened none.
    expect(new Set(states)).toEqual(new Set(['disconnected', 'connecting', 'connected', 'reconnecting']));
  });

  test('the first of two components to unmount leaves the other connected; the last disconnects', async () => {
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

  test('without a user it does not connect, and follows a change of user', async () => {
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

  test('its functions stay the same over renders', async () => {
    const { result } = renderHook(() => useWebSocket('ada'), { wrapper: Strict });
    const { reconnect, joinChat, ping, on } = result.current;
    await advance(50);
    expect(result.current).toMatchObject({ reconnect, joinChat, ping, on });
  });
});

describe('useChatWebSocket', () => {
  test('joins, hears each message once by an inline handler, and never subscribes again', async () => {
    const seen: string[] = [];
    const on = vi.spyOn(client, 'on');
    function Listener({ chatId }: { chatId: string }): ReactNode {
      const [count, setCount] = useState(0);
      const { isConnected, useMessageListener: useListener } = useChatWebSocket('ada', chatId);
      useListener((message) => {
        seen.push(`${count}:${message.content}`); // The count of the last render: no stale closure.
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
    act(() => void server.post('a', 'unheard'));
    act(() => server.cut());
    server.post('b', 'missed');
    await advance(2_000);
    expect(seen.at(-1)).toBe('3:missed');
    expect(seen).toHaveLength(4);
  });

  test('messages of one turn are all heard: none is lost to batching', async () => {
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
  test('shows history, live messages and own ones, and renders no more than needed', async () => {
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

  test('switches chats without a trace of the first, and leaves it', async () => {
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

  test('asks for nothing while it is told to skip', async () => {
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

  test('holds the connection of its user, and says when it is lost', async () => {
    const { result } = renderHook(() => ({ connection: useConnection(), state: useConnectionState() }), {
      wrapper: StrictAsAda,
    });
    await advance(50);
    expect(result.current.connection).toMatchObject({ state: 'connected', userId: 'ada', lost: false, error: null });
    server.admission = 'unreachable';
    act(() => server.cut());
    await advance(3_000);
    expect(result.current.connection).toMatchObject({ state: 'reconnecting', lost: true });
    expect(result.current.state).toBe(ConnectionState.RECONNECTING);
  });

  test('useMessageListener hears messages without any other hook of the component', async () => {
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

test('useChats lists and creates', async () => {
  const { result } = renderHook(() => useChats(), { wrapper: StrictAsAda });
  await advance(50);
  expect(result.current).toMatchObject({ chats: [], hasMore: false });
  expect(result.current.error).toMatchObject({ status: 404 }); // The fake server has no list.
});

test('renders on a server: disconnected, nothing loaded, nothing asked for', () => {
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

describe('who is there and who writes', () => {
  function Company({ chatId }: { chatId: string | null }): ReactNode {
    const { online, stale } = usePresence(chatId);
    const typing = useTyping(chatId);
    return <p>{`${online.join()} ${stale ? 'stale' : 'known'} ${typing.join()}`}</p>;
  }

  test('each shows in every component of the chat, and no presence renders what shows typing alone', async () => {
    const rendered = vi.fn();
    function Line(): ReactNode {
      const typing = useTyping('c');
      useEffect(rendered);
      return <i>{typing.join()}</i>;
    }
    render(
      <>
        <Company chatId="c" />
        <Line />
      </>,
      { wrapper: StrictAsAda },
    );
    await advance(50);
    screen.getByText('stale', { normalizer: (text) => text.trim() });
    rendered.mockClear();
    act(() => server.tell('c', 'presence', { online: ['ada', 'bob'], offline: [], reset: true }));
    screen.getByText('ada,bob known', { normalizer: (text) => text.trim() });
    expect(rendered).not.toHaveBeenCalled();
    act(() => server.tell('c', 'typing', { userId: 'bob', typing: true }));
    screen.getByText('ada,bob known bob');
    screen.getByText('bob');
    await advance(6_000);
    screen.getByText('ada,bob known', { normalizer: (text) => text.trim() });
    expect(server.socket.sent.filter(([event]) => event === 'join-chat')).toHaveLength(1);
  });

  test('without a chat there is nobody, and on a server neither', () => {
    render(<Company chatId={null} />, { wrapper: StrictAsAda });
    screen.getByText('stale', { normalizer: (text) => text.trim() });
    const html = renderToString(
      <RoomcastProvider client={client}>
        <Company chatId="c" />
      </RoomcastProvider>,
    );
    expect(html).toBe('<p> stale </p>');
    expect(server.sockets).toHaveLength(0);
  });

  test('useChat has both and tells of one’s own typing; it joins once, after it has loaded', async () => {
    server.post('c', 'hello');
    const { result, unmount } = renderHook(() => useChat('c'), { wrapper: StrictAsAda });
    await advance(50);
    act(() => {
      server.tell('c', 'presence', { online: ['ada', 'bob'], offline: [], reset: true });
      server.tell('c', 'typing', { userId: 'bob', typing: true });
    });
    expect(result.current).toMatchObject({ presence: { online: ['ada', 'bob'], stale: false }, typingUsers: ['bob'] });
    result.current.setTyping(true);
    expect(server.socket.sent.map(([event]) => event)).toEqual(['join-user', 'join-chat', 'typing']);
    expect(server.socket.sent[1]?.[1]).toMatchObject({ since: { seq: 1 } });
    unmount();
    await advance(50);
    expect(server.socket.rooms.has('c')).toBe(false);
  });

  test('a view beside the chat’s own, mounted first and with a connection, does not join it twice', async () => {
    server.post('c', 'hello');
    function Both(): ReactNode {
      return (
        <>
          <Company chatId="c" />
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

  test('useChat that skips has nobody, and tells nothing', async () => {
    const { result } = renderHook(() => useChat('c', { skip: true }), { wrapper: StrictAsAda });
    await advance(50);
    expect(result.current).toMatchObject({ presence: { online: [], stale: true }, typingUsers: [] });
    result.current.setTyping(true);
    expect(server.socket.sent.map(([event]) => event)).toEqual(['join-user']);
  });
});
