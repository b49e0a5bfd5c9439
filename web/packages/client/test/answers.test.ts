/** Growing answers in a chat: chunks, gaps, reconnects, ends, versions, and the order of the entries. */
import fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { type ChatSession, createClient, type WebSocketClient } from '../src/index.ts';
import { FakeServer, json, problem } from './support/fake-server.ts';

const CHAT = 'c';

function setUpWith(server: FakeServer): { client: WebSocketClient; chat: ChatSession } {
  const client = createClient({ runtime: server.runtime });
  client.acquire('ada');
  const chat = client.chat(CHAT);
  onTestFinished(chat.subscribe(() => undefined));
  onTestFinished(() => client.close());
  return { client, chat };
}

async function setUp(): Promise<{ server: FakeServer; client: WebSocketClient; chat: ChatSession }> {
  const server = new FakeServer();
  const { client, chat } = setUpWith(server);
  await server.clock.advance(400);
  return { server, client, chat };
}

const START = { type: 'text-start', id: '0' };
const delta = (text: string): { type: string; id: string; delta: string } => ({
  type: 'text-delta',
  id: '0',
  delta: text,
});

function lines(chat: ChatSession): string[] {
  return chat.getSnapshot().messages.map(({ role, content, turn }) => `${role} ${content} ${turn?.status}`);
}

function resumes(server: FakeServer): number {
  return server.sockets.flatMap(({ sent }) => sent).filter(([event]) => event === 'ai-resume').length;
}

describe('an answer', () => {
  test('grows at the place of its start, and is announced once, when it has ended', async () => {
    const { server, client, chat } = await setUp();
    const announced = vi.fn();
    client.on('new-msg', announced);
    const { answer } = server.ask(CHAT, 'why?');
    expect(lines(chat)).toEqual(['USER why? queued']);
    expect(chat.getSnapshot().activeTurn).toMatchObject({ id: answer.turn.id, status: 'queued' });
    server.start(answer);
    server.send(answer, START, delta('Be'));
    server.post(CHAT, 'meanwhile');
    server.send(answer, delta('cause'));
    await server.clock.advance(50);
    expect(lines(chat)).toEqual(['USER why? streaming', 'AI Because streaming', 'USER meanwhile undefined']);
    expect(chat.getSnapshot().messages[1]).toMatchObject({
      place: 2,
      parts: [{ type: 'text', text: 'Because', state: 'streaming' }],
    });
    const { key } = chat.getSnapshot().messages[1] ?? {};
    server.end(answer);
    expect(lines(chat)).toEqual(['USER why? complete', 'AI Because complete', 'USER meanwhile undefined']);
    expect(chat.getSnapshot().messages[1]).toMatchObject({ key, seq: 4, parts: [{ state: 'done' }] });
    expect(chat.getSnapshot().activeTurn).toBeNull();
    expect(announced.mock.calls.map(([message]) => (message as { content: string }).content)).toEqual([
      'why?',
      'meanwhile',
      'Because',
    ]);
    expect(resumes(server)).toBe(0);
    expect(server.requests.filter(({ path }) => path.includes('/events'))).toEqual([]);
  });

  test('loses all text when the moderation refuses it, also without its stream', async () => {
    const { server, chat } = await setUp();
    const { answer } = server.ask(CHAT, 'why?');
    server.start(answer);
    server.send(answer, START, delta('bad'));
    await server.clock.advance(50);
    expect(lines(chat)[1]).toBe('AI bad streaming');
    answer.all = [];
    server.end(answer, 'failed', 'refused');
    await server.clock.advance(50);
    expect(chat.getSnapshot().messages[1]).toMatchObject({ content: '', parts: [], turn: { reason: 'refused' } });
  });

  test('is replaced when the moderation masks it', async () => {
    const { server, chat } = await setUp();
    const { answer } = server.ask(CHAT, 'why?');
    server.start(answer);
    server.send(answer, START, delta('damn'));
    await server.clock.advance(50);
    // The worker writes the stream again, up to a number that no client has.
    answer.chunks = answer.all = [{ type: 'start' }, START, delta('****'), { type: 'text-end', id: '0' }];
    const last = answer.turn.last + 2;
    server.resumeAck = () => ({
      ...{ ok: true, chatId: CHAT, turnId: answer.turn.id, generation: 1, first: 0 },
      ...{ last, chunks: answer.chunks },
    });
    answer.turn = { ...answer.turn, last };
    server.sendChunks(answer, { first: last + 1, last, chunks: [] });
    await server.clock.advance(50);
    expect(lines(chat)[1]).toBe('AI **** streaming');
  });

  test('changes the snapshot at most every 40 ms, and only its own entry', async () => {
    const { server, chat } = await setUp();
    const { answer } = server.ask(CHAT, 'q');
    server.start(answer);
    server.send(answer, START);
    await server.clock.advance(100);
    const changed = vi.fn();
    onTestFinished(chat.subscribe(changed));
    const [question] = chat.getSnapshot().messages;
    for (let index = 0; index < 100; index += 1) {
      server.send(answer, delta('x'));
      await server.clock.advance(4);
    }
    await server.clock.advance(40);
    expect(changed.mock.calls.length).toBeGreaterThan(8);
    expect(changed.mock.calls.length).toBeLessThanOrEqual(12);
    expect(chat.getSnapshot().messages[0]).toBe(question);
    expect(chat.getSnapshot().messages[1]?.content).toHaveLength(100);
  });

  test('that is streaming when the page is loaded is resumed after the join', async () => {
    const server = new FakeServer();
    const { answer } = server.ask(CHAT, 'q');
    server.start(answer);
    server.send(answer, START, delta('so far'));
    const { chat } = setUpWith(server);
    await server.clock.advance(400);
    expect(lines(chat)).toEqual(['USER q streaming', 'AI so far streaming']);
    expect(resumes(server)).toBe(1);
    server.send(answer, delta(', and on'));
    server.end(answer);
    expect(lines(chat)).toEqual(['USER q complete', 'AI so far, and on complete']);
  });

  test('that started while the client was away is resumed', async () => {
    const { server, chat } = await setUp();
    server.cut();
    const { answer } = server.ask(CHAT, 'q');
    server.start(answer);
    server.send(answer, START, delta('a'));
    server.replayLimit = 0;
    await server.clock.advance(5_000);
    expect(lines(chat)).toEqual(['USER q streaming', 'AI a streaming']);
    server.cut();
    server.send(answer, delta('b'));
    server.replayLimit = 100;
    await server.clock.advance(5_000);
    expect(lines(chat)).toEqual(['USER q streaming', 'AI ab streaming']);
  });

  test('is whole after a lost frame, with one request for the chunks', async () => {
    const { server, chat } = await setUp();
    const { answer } = server.ask(CHAT, 'q');
    server.start(answer);
    server.send(answer, START, delta('a'));
    server.deliver = () => undefined;
    server.send(answer, delta('b'));
    server.deliver = (socket, event, payload) => socket.receive(event, payload);
    server.send(answer, delta('c'));
    server.send(answer, delta('d'));
    await server.clock.advance(100);
    expect(lines(chat)[1]).toBe('AI abcd streaming');
    expect(resumes(server)).toBe(1);
  });

  test('is requested again while it is active, if the request fails or the snapshot is too old', async () => {
    const { server, chat } = await setUp();
    const { answer } = server.ask(CHAT, 'q');
    server.start(answer);
    const acks: unknown[] = [
      { ok: false, error: { code: 'unavailable', message: 'no log' } },
      { ok: true, chatId: CHAT, turnId: answer.turn.id, generation: 1, first: 0, last: -1, chunks: [] },
    ];
    server.resumeAck = () => acks.shift();
    server.deliver = () => undefined;
    server.send(answer, START, delta('a'));
    server.deliver = (socket, event, payload) => socket.receive(event, payload);
    server.send(answer, delta('b'));
    await server.clock.advance(5_000);
    expect(lines(chat)[1]).toBe('AI ab streaming');
    expect(resumes(server)).toBe(3);
  });

  test('is not requested again after a refusal, or after its end', async () => {
    const { server } = await setUp();
    const { answer } = server.ask(CHAT, 'q');
    server.start(answer);
    server.resumeAck = () => ({ ok: false, error: { code: 'forbidden', message: 'not a member' } });
    server.sendChunks(answer, { first: 5, last: 5, chunks: [delta('x')] });
    await server.clock.advance(60_000);
    expect(resumes(server)).toBe(1);
    server.end(answer, 'failed', 'provider-unreachable');
    server.sendChunks(answer, { first: 5, last: 5, chunks: [delta('x')] });
    await server.clock.advance(60_000);
    expect(resumes(server)).toBe(1);
  });

  test('of another attempt replaces the text so far', async () => {
    const { server, chat } = await setUp();
    const { answer } = server.ask(CHAT, 'q');
    server.start(answer);
    server.send(answer, START, delta('old'));
    answer.turn = { ...answer.turn, generation: 2, last: -1 };
    answer.chunks = [];
    answer.all = [];
    server.send(answer, START, delta('new'));
    await server.clock.advance(50);
    expect(lines(chat)[1]).toBe('AI new streaming');
  });
});

describe('the end of an answer', () => {
  test.each(['a lost frame', 'a later generation', 'an unknown chunk'])('is fetched after %s', async (cause) => {
    const { server, client, chat } = await setUp();
    const announced: string[] = [];
    client.on('new-msg', ({ content }) => announced.push(content));
    const { answer } = server.ask(CHAT, 'q');
    server.start(answer);
    server.send(answer, START, delta('a'));
    server.resumeAck = () => null;
    if (cause === 'a lost frame') server.deliver = () => undefined;
    server.send(answer, delta('b'));
    server.deliver = (socket, event, payload) => socket.receive(event, payload);
    if (cause === 'a later generation') answer.turn = { ...answer.turn, generation: 2 };
    if (cause === 'an unknown chunk') server.send(answer, { type: 'of-a-later-version' });
    server.intercept = (_, url) => (url.pathname.endsWith('/events') ? problem(503, 'unavailable') : undefined);
    server.end(answer, 'incomplete', 'worker-lost');
    server.post(CHAT, 'next');
    await server.clock.advance(50);
    // Neither a wrong nor a short text is shown as the final one, and the order is kept.
    expect(lines(chat)[1]).toMatch(/^AI ab? streaming$/);
    expect(announced).toEqual(['q']);
    server.intercept = () => undefined;
    await server.clock.advance(10_000);
    expect(lines(chat)).toEqual(['USER q incomplete', 'AI ab incomplete', 'USER next undefined']);
    expect(announced).toEqual(['q', 'ab', 'next']);
  });

  test('without a text is shown at the question and the answer', async () => {
    const { server, client, chat } = await setUp();
    const announced = vi.fn();
    const { answer } = server.ask(CHAT, 'q');
    client.on('new-msg', announced);
    server.start(answer);
    server.end(answer, 'failed', 'provider-unreachable');
    expect(lines(chat)).toEqual(['USER q failed', 'AI  failed']);
    expect(chat.getSnapshot().messages[1]?.turn?.reason).toBe('provider-unreachable');
    expect(chat.getSnapshot().activeTurn).toBeNull();
    expect(announced).not.toHaveBeenCalled();
  });

  test('that comes before the start of a queued turn is shown at the question', async () => {
    const { server, chat } = await setUp();
    const first = server.ask(CHAT, 'one');
    const second = server.ask(CHAT, 'two');
    expect(chat.getSnapshot().activeTurn?.id).toBe(first.answer.turn.id);
    server.end(first.answer, 'stopped', 'replaced');
    expect(lines(chat)).toEqual(['USER one stopped', 'USER two queued']);
    expect(chat.getSnapshot().activeTurn?.id).toBe(second.answer.turn.id);
  });

  test('reaches handlers of a chat without views with its whole text, and without chunks', async () => {
    const server = new FakeServer();
    const client = createClient({ runtime: server.runtime });
    onTestFinished(() => client.close());
    client.acquire('ada');
    client.joinChat(CHAT);
    const announced: string[] = [];
    client.on('new-msg', ({ content }) => announced.push(content));
    await server.clock.advance(400);
    const { answer } = server.ask(CHAT, 'q');
    server.start(answer);
    server.send(answer, START, delta('whole'));
    server.end(answer);
    expect(announced).toEqual(['q', 'whole']);
    expect(server.socket.streams.size).toBe(0);
  });
});

describe('a version', () => {
  test('replaces the earlier one at its place when it starts, with the same key', async () => {
    const { server, chat } = await setUp();
    const { question, answer } = server.ask(CHAT, 'q');
    server.start(answer);
    server.send(answer, START, delta('first'));
    server.end(answer);
    server.post(CHAT, 'later');
    const { key } = chat.getSnapshot().messages[1] ?? {};
    const again = server.queue(CHAT, question.id, answer);
    expect(lines(chat)).toEqual(['USER q queued', 'AI first complete', 'USER later undefined']);
    server.start(again);
    expect(lines(chat)).toEqual(['USER q streaming', 'AI  streaming', 'USER later undefined']);
    server.send(again, START, delta('second'));
    server.end(again);
    expect(lines(chat)).toEqual(['USER q complete', 'AI second complete', 'USER later undefined']);
    expect(chat.getSnapshot().messages[1]).toMatchObject({ key, version: 2, place: 2 });
    expect(chat.getSnapshot().messages.map(({ place }) => place)).toEqual([1, 2, 4]);
  });

  test('of a question replaces it; an earlier version that arrives later does not', async () => {
    const { server, chat } = await setUp();
    server.post(CHAT, 'tpyo');
    server.post(CHAT, 'other');
    server.post(CHAT, 'typo', { place: 1, version: 2, id: 'edited' });
    server.post(CHAT, 'late', { place: 1, version: 1, id: 'late' });
    expect(chat.getSnapshot().messages.map(({ content }) => content)).toEqual(['typo', 'other']);
  });

  test('of a message before the loaded ones is not added', async () => {
    const server = new FakeServer();
    for (let index = 1; index <= 60; index += 1) server.post(CHAT, `m${index}`);
    const { chat } = setUpWith(server);
    await server.clock.advance(400);
    server.post(CHAT, 'edited', { place: 3, version: 2 });
    expect(chat.getSnapshot().messages).toHaveLength(50);
    await chat.loadOlder();
    expect(chat.getSnapshot().messages[2]?.content).toBe('edited');
  });
});

describe('actions', () => {
  test('a stop uses the connection, and the API without one', async () => {
    const { server, chat } = await setUp();
    const stops: string[] = [];
    server.intercept = (method, url) => {
      if (method !== 'POST' || !url.pathname.endsWith('/stop')) return undefined;
      stops.push(url.pathname);
      return json({});
    };
    await chat.stop();
    expect(server.socket.sent.filter(([event]) => event === 'ai-stop')).toEqual([]);
    const { answer } = server.ask(CHAT, 'q');
    await chat.stop();
    expect(server.socket.sent.at(-1)).toEqual(['ai-stop', { chatId: CHAT, turnId: answer.turn.id }]);
    expect(stops).toEqual([]);
    server.cut();
    await chat.stop();
    expect(stops).toEqual([`/api/chats/${CHAT}/turns/${answer.turn.id}/stop`]);
  });

  test('regenerate, edit, versions and settings are requests to the API', async () => {
    const { server, chat } = await setUp();
    const question = server.post(CHAT, 'q');
    server.intercept = (method, url) => {
      if (url.pathname.endsWith('/versions')) return json({ versions: [question] });
      if (method === 'PUT' && url.pathname.includes('/messages/')) return json({ ...question, version: 2 }, 201);
      return json({ id: 't2' });
    };
    const from = server.requests.length;
    expect(await chat.regenerate('t/1')).toEqual({ id: 't2' });
    expect(await chat.edit('m1', 'better')).toMatchObject({ version: 2, status: 'sent' });
    expect(await chat.versions('m1')).toMatchObject([{ content: 'q', time: expect.any(Date) as Date }]);
    await chat.setAi({ answers: 'never' });
    expect(server.requests.slice(from).map(({ method, path, body }) => [method, path, body])).toEqual([
      ['POST', `/api/chats/${CHAT}/turns/t%2F1/regenerate`, undefined],
      ['PUT', `/api/chats/${CHAT}/messages/m1`, { content: 'better', clientMsgId: 'id-1' }],
      ['GET', `/api/chats/${CHAT}/messages/m1/versions`, undefined],
      ['PUT', `/api/chats/${CHAT}/ai`, { answers: 'never' }],
    ]);
  });
});

type Step = 'chunk' | 'drop' | 'delay' | 'cut' | 'wait' | 'post' | 'lose-stream' | 'attempt';

test('with any faults of the network the final text is that of the server, announced once and in order', async () => {
  const step = fc.constantFrom<Step>(
    'chunk',
    'chunk',
    'chunk',
    'drop',
    'delay',
    'cut',
    'wait',
    'post',
    'lose-stream',
    'attempt',
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.constantFrom(0, 2, 100), async (steps, replayLimit) => {
      const server = new FakeServer();
      server.replayLimit = replayLimit;
      const client = createClient({ runtime: server.runtime });
      const announced: number[] = [];
      client.on('new-msg', ({ seq }) => announced.push(seq ?? -1));
      const release = client.acquire('ada');
      const chat = client.chat(CHAT);
      const leave = chat.subscribe(() => undefined);
      await server.clock.advance(400);
      const { answer } = server.ask(CHAT, 'q');
      server.start(answer);
      server.send(answer, START);
      let count = 0;
      for (const kind of steps) {
        server.deliver = (socket, event, payload) => {
          if (kind === 'delay') server.clock.setTimeout(() => socket.receive(event, payload), 300);
          else if (kind !== 'drop') socket.receive(event, payload);
        };
        if (kind === 'cut') server.cut();
        else if (kind === 'wait') await server.clock.advance(700);
        else if (kind === 'post') server.post(CHAT, `m${(count += 1)}`);
        else if (kind === 'lose-stream') answer.chunks = [];
        else if (kind === 'attempt') {
          answer.turn = { ...answer.turn, generation: answer.turn.generation + 1, last: -1 };
          answer.chunks = [];
          answer.all = [];
          server.send(answer, START);
        } else server.send(answer, delta(`${(count += 1)} `));
        await server.clock.advance(10);
        // At no time is a text shown that the answer never had.
        const shown = chat.getSnapshot().messages.find(({ id }) => id === answer.turn.id)?.content ?? '';
        expect(shown.split(' ').every((word) => word === '' || Number(word) <= count)).toBe(true);
      }
      server.deliver = (socket, event, payload) => socket.receive(event, payload);
      server.send(answer, delta('end'));
      server.end(answer);
      await server.clock.advance(30_000);
      const expected = server.messages(CHAT);
      const { messages, activeTurn } = chat.getSnapshot();
      expect(messages.map(({ content, parts }) => ({ content, parts }))).toEqual(
        expected.map(({ content, parts }) => ({ content, parts })),
      );
      expect(activeTurn).toBeNull();
      expect(announced).toEqual([...announced].sort((a, b) => a - b));
      expect(new Set(announced)).toEqual(new Set(expected.map(({ seq }) => seq)));
      leave();
      release();
      client.close();
    }),
    { numRuns: 200 },
  );
}, 60_000);
