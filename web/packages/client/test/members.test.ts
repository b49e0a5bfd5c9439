/** The members of a chat: one read for all subscribers, then changes by events. */
import { expect, onTestFinished, test } from 'vitest';
import { type contract, createClient } from '../src/index.ts';
import { FakeServer, json, problem } from './support/fake-server.ts';

function member(userId: string, role: contract.MemberRole = 'member'): contract.Member {
  return { userId, role, addedAt: '2026-11-29T00:00:00Z', mutedUntil: null };
}

/** Members on a page of the server. */
const PAGE = 4;

async function setUp(listed: contract.Member[]) {
  const server = new FakeServer();
  const reads: (() => void)[] = [];
  let held = false;
  server.intercept = (_method, { pathname, searchParams }) => {
    if (!pathname.endsWith('/members')) return undefined;
    const rest = listed.filter(({ userId }) => userId > (searchParams.get('after') ?? ''));
    const page = { members: rest.slice(0, PAGE), hasMore: rest.length > PAGE };
    const answer = listed[0] ? json(page) : problem(404, 'chat-not-found');
    return new Promise((resolve) => {
      const answers = (): void => resolve(answer);
      reads.push(answers);
      if (!held) answers();
    });
  };
  const client = createClient({ runtime: server.runtime });
  onTestFinished(() => client.close());
  void client.connect('me');
  const session = client.chat('c');
  const leave = [session.subscribeMembers(() => undefined), session.subscribeMembers(() => undefined)];
  await server.clock.advance(50);
  const store = (event: string, fields: object): void =>
    server.store('c', event, { chatId: 'c', epoch: server.epoch, seq: server.head('c') + 1, time: 't', ...fields });
  const names = (): string[] => (session.getMembers().members ?? []).map(({ userId, role }) => `${userId} ${role}`);
  return { server, session, reads, store, names, leave, hold: () => (held = true) };
}

test('two subscribers share one read, and events change the list without another', async () => {
  const { server, session, reads, store, names } = await setUp([member('ann', 'owner'), member('me')]);
  expect(names()).toEqual(['ann owner', 'me member']);
  store('member-added', { userId: 'bob', role: 'reader', actorId: 'ann' });
  expect(names()).toEqual(['ann owner', 'bob reader', 'me member']);
  store('member-updated', { userId: 'me', role: 'moderator', mutedUntil: null, actorId: 'ann' });
  store('member-removed', { userId: 'bob', actorId: 'ann', banned: false });
  expect(names()).toEqual(['ann owner', 'me moderator']);
  // Missed events are replayed.
  server.cut();
  store('member-added', { userId: 'zoe', role: 'member', actorId: 'ann' });
  await server.clock.advance(2_000);
  expect(names()).toEqual(['ann owner', 'me moderator', 'zoe member']);
  expect(reads).toHaveLength(1);
  const before = session.getMembers();
  server.post('c', 'hello');
  expect(session.getMembers()).toBe(before);
});

test('all pages are read', async () => {
  const ids = Array.from({ length: 2 * PAGE + 1 }, (_, index) => `u${index}`);
  const { reads, names } = await setUp(ids.map((id) => member(id)));
  expect(names()).toEqual(ids.map((id) => `${id} member`));
  expect(reads).toHaveLength(3);
});

test('an event that arrives during a read is not lost', async () => {
  const { server, reads, store, names, session, hold } = await setUp([member('ann'), member('me')]);
  hold();
  store('member-added', { userId: 'me', role: 'member', actorId: 'ann' }); // the own user: read again
  store('member-removed', { userId: 'ann', actorId: 'ann', banned: false });
  expect(names()).toEqual(['ann member', 'me member']);
  await server.clock.advance(1);
  expect(reads).toHaveLength(2);
  reads.at(-1)?.();
  await server.clock.advance(1);
  expect(names()).toEqual(['me member']);
  expect(session.getMembers().error).toBeNull();
});

test('after the own removal the list remains, with the error of the server', async () => {
  const listed = [member('ann'), member('me')];
  const { server, store, names, session } = await setUp(listed);
  listed.length = 0;
  store('member-removed', { userId: 'me', actorId: 'ann', banned: true });
  await server.clock.advance(1);
  expect(names()).toEqual(['ann member', 'me member']);
  expect(session.getMembers().error).toMatchObject({ code: 'chat-not-found' });
});
