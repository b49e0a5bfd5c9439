/** Ids of users and chats may be any text: also names of properties of objects, and integers. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createClient } from '../src/index.ts';
import { FakeServer, json } from './support/fake-server.ts';
import { MemoryStorage } from './support/memory-storage.ts';

const NAMES = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'length', 'then', 'null', '0', '1', '8', '-1'];
const names = fc.uniqueArray(fc.oneof(fc.constantFrom(...NAMES), fc.nat({ max: 99 }).map(String)), {
  minLength: 2,
  maxLength: 5,
});

test('chats, users and messages with such ids do not affect each other', async () => {
  await fc.assert(
    fc.asyncProperty(names, names, async (chatIds, users) => {
      const server = new FakeServer();
      const [me, ...others] = users as [string, ...string[]];
      const time = new Date(Date.UTC(2026, 0, 1)).toISOString();
      let offline = false;
      server.intercept = (method, url) => {
        if (method === 'POST' && offline) return Promise.reject(new TypeError('failed to fetch'));
        if (url.pathname !== '/api/chats') return undefined;
        const chats = chatIds.map((id) => ({
          ...{ id, title: id, createdAt: time, lastActivityAt: time, epoch: 'e1' },
          lastSeq: server.head(id),
          lastMessage: null,
        }));
        return json({ chats, nextCursor: null });
      };
      const storage = new MemoryStorage();
      const client = createClient({ runtime: server.runtime, storage });
      client.acquire(me);
      client.chats.subscribe(() => undefined);
      for (const id of chatIds) client.chat(id).subscribe(() => undefined);
      await server.clock.advance(500);

      for (const id of chatIds) {
        for (const userId of others) server.post(id, `${userId} in ${id}`, { userId, clientMsgId: userId });
        void client.sendMessage(id, `${me} in ${id}`);
        server.sendToRoom(id, 'presence', { online: users, offline: [], reset: true });
        for (const userId of others) server.sendToRoom(id, 'typing', { userId, typing: true });
      }
      await server.clock.advance(50);
      const all = (id: string) => [...others, me].map((userId) => `${userId} in ${id}`);
      for (const id of chatIds) {
        const { messages } = client.chat(id).getSnapshot();
        expect(messages.map(({ content }) => content)).toEqual(all(id));
        expect(new Set(messages.map(({ key }) => key)).size).toBe(users.length);
        expect(client.chat(id).getPresence().online).toEqual([...users].sort());
        expect(client.chat(id).getTyping()).toEqual(others);
      }
      expect(
        client.chats
          .getSnapshot()
          .chats.map((chat) => chat.id)
          .sort(),
      ).toEqual([...chatIds].sort());

      offline = true;
      for (const id of chatIds) void client.sendMessage(id, 'unsent');
      client.close();
      offline = false;
      const next = createClient({ runtime: server.runtime, storage });
      next.acquire(me);
      expect(next.countUnsent(me)).toBe(chatIds.length);
      expect(others.map((userId) => next.countUnsent(userId))).toEqual(others.map(() => 0));
      for (const id of chatIds) next.chat(id).subscribe(() => undefined);
      await server.clock.advance(500);
      for (const id of chatIds) expect(server.contents(id)).toEqual([...all(id), 'unsent']);
      expect(storage.length).toBe(0);
      next.close();
    }),
    { numRuns: 40 },
  );
});
