// The load generator: one scenario on one server, in one process, on plain sockets. Checks per connection that each message
// arrives once and in order.
// node load.mjs '{"mode": "fanout", "port": 3001, …}' → one JSON line
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { Figures } from './figures.mjs';
import { catchUp, post, send } from './http.mjs';
import { Centrifugo, FIRST, SocketIo, fail } from './wire.mjs';

const job = JSON.parse(process.argv[2]);
const { mode, port, api, clients: count, chats, seconds, limitSeconds = 60 } = job;
const Dialect = job.dialect === 'centrifugo' ? Centrifugo : SocketIo;
Centrifugo.recoverable = mode === 'storm' || mode === 'rooms';
const figures = new Figures(job.pids, job.others);
/** Connections that are set up at a time, before the measurement. */
const SETUP_WIDTH = 64;
/** Messages that are published at a time through another node of Centrifugo. */
const PUBLISHED = 100;
/** How long a repeated message is waited for. */
const QUIET_MS = 200;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Run `work(0)` … `work(total - 1)`, `width` at a time. */
async function pool(total, width, work) {
  let next = 0;
  const one = async () => {
    while (next < total) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(width, total) }, one));
}

/** Counts down as clients receive all that they expect. */
class Round {
  #left = 0;
  #target = 0;
  #resolve;
  #timer;
  fault = (text) => fail(new Error(text));

  arrived(client) {
    if (client.next === this.#target && --this.#left === 0) {
      clearTimeout(this.#timer);
      this.#resolve();
    }
  }

  /** Resolves when every one of so many clients has all messages below `target`. */
  complete(clients, target) {
    this.#left = clients;
    this.#target = target;
    const late = () => fail(new Error(`${this.#left} clients have not received all messages`));
    this.#timer = setTimeout(late, limitSeconds * 1000);
    return new Promise((resolve) => (this.#resolve = resolve));
  }
}

async function connected(counter, chat) {
  const client = new Dialect(port, counter);
  await client.ready;
  if (chat !== undefined) client.joined = await client.join(chat);
  return client;
}

async function swarm(counter, chatOf) {
  const clients = new Array(count);
  await pool(count, SETUP_WIDTH, async (index) => (clients[index] = await connected(counter, chatOf(index))));
  return clients;
}

/** A message whose argument array is about 200 bytes. */
const message = (n) => ({ n, id: '0197f0c0-0000-7000-8000-000000000000', role: 'USER', content: 'x'.repeat(94), chatId: 'bench' });

/** `ticks` times `perTick` messages to one room; the next when all have them, until the time is up. */
async function fanout() {
  const { ticks, perTick } = job;
  const round = new Round();
  const clients = await swarm(round, () => 'bench');
  for (const client of clients) client.next = FIRST;
  const blast = (first) => {
    if (Dialect === SocketIo) clients[0].send(`42${JSON.stringify(['blast', { room: 'chat:bench', message: message(first), ticks, perTick }])}`);
    else
      for (let tick = 0; tick < ticks; tick += 1)
        clients[0].publish(Array.from({ length: perTick }, (_, index) => ['bench', message(first + tick * perTick + index)]));
  };
  let next = FIRST;
  const blasted = async () => {
    const done = round.complete(count, next + ticks * perTick);
    blast(next);
    next += ticks * perTick;
    await done;
  };
  await blasted();
  const began = figures.begin();
  const first = next;
  while (performance.now() - began < seconds * 1000) await blasted();
  const found = figures.end(count * (next - first));
  await sleep(QUIET_MS);
  figures.print(found);
}

/** Messages to many rooms through Redis: prepared commands, written at once; or published by another node. */
async function rooms() {
  const { first, each, commands, redis, publisher } = job;
  const round = new Round();
  const clients = await swarm(round, (index) => `room-${index % chats}`);
  const publishing = publisher === undefined ? undefined : await new Centrifugo(publisher, round).ready;
  const bytes = commands === undefined ? undefined : readFileSync(commands);
  await sleep(QUIET_MS);
  for (const client of clients) client.next = client.first = first;
  const done = round.complete(count, first + each);
  figures.begin();
  if (bytes !== undefined) {
    const socket = net.connect(redis, '127.0.0.1');
    socket.on('data', (answer) => {
      const text = answer.toString('latin1');
      if (text.startsWith('-') || text.includes('\r\n-')) fail(new Error(`Redis: ${text.slice(0, 300)}`));
    });
    socket.write(bytes);
  } else
    for (let number = first; number < first + each; number += 1)
      for (let room = 0; room < chats; room += PUBLISHED) {
        const some = Array.from({ length: Math.min(PUBLISHED, chats - room) }, (_, index) => [`room-${room + index}`, message(number)]);
        await publishing.publish(some);
      }
  await done;
  const found = figures.end(count * each);
  await sleep(QUIET_MS);
  figures.print(found);
}

/** An event with an ack, one at a time on each connection. */
async function ack() {
  const clients = await swarm(figures, () => undefined);
  const end = figures.begin() + seconds * 1000;
  let running = count;
  const all = new Promise((resolve) => {
    const next = (client, number) => {
      const at = performance.now();
      if (at >= end) return --running === 0 && resolve();
      client.echo(number, (right) => {
        if (!right) figures.fault('an ack has a wrong argument');
        figures.latencies.push(performance.now() - at);
        next(client, number + 1);
      });
    };
    for (const client of clients) next(client, 1);
  });
  await all;
  figures.print(figures.end());
}

/** Connect, join a chat, disconnect, on `clients` connections at a time. */
async function join() {
  const end = figures.begin() + seconds * 1000;
  let number = 0;
  const one = async () => {
    while (performance.now() < end) {
      const at = performance.now();
      const client = await connected(figures, `${job.prefix ?? 'join-'}${1 + (number++ % chats)}`);
      figures.latencies.push(performance.now() - at);
      client.close();
    }
  };
  await Promise.all(Array.from({ length: count }, one));
  figures.print(figures.end());
}

const rssKb = (pid) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))[1]);

/** Memory of the server's processes for each connection that has joined a chat and is idle. */
async function idle() {
  const chatOf = (index) => `idle-${index % chats}`;
  for (let index = 0; index < 200; index += 1) await connected(figures, chatOf(index)); // what is allocated once
  await sleep(1000);
  const rss = () => job.pids.reduce((sum, pid) => sum + rssKb(pid), 0);
  const before = rss();
  figures.begin();
  await swarm(figures, chatOf);
  const found = figures.end(count);
  await sleep(2000);
  figures.print({ ...found, kb: (rss() - before) / count });
}

/** All clients disconnect, miss `missed` messages, and come back at once, each with its position. */
async function storm() {
  const { missed } = job;
  const run = Math.random().toString(36).slice(2, 8);
  const chatOf = (index) => `storm-${run}-${index % chats}`;
  const publishing = Dialect === Centrifugo ? await connected(figures) : undefined;
  const write = async () => {
    if (publishing) await publishing.publish(Array.from({ length: chats }, (_, index) => [chatOf(index), message(FIRST)]));
    else if (api !== undefined) await pool(chats, 32, (index) => send(api, chatOf(index)));
  };
  await write();
  const before = await swarm(figures, chatOf);
  for (const client of before) client.close();
  for (let number = 0; number < missed; number += 1) await write();
  await sleep(1000);
  let repeated = 0;
  const began = figures.begin();
  let refused = 0;
  const back = async (index) => {
    for (;;) {
      try {
        return await attempt(index);
      } catch (error) {
        if (++refused > 20 * count) throw error;
        await sleep(100);
      }
    }
  };
  const attempt = async (index) => {
    const { epoch, seq } = before[index].joined;
    const replay = epoch !== undefined && job.replay !== false;
    const client = new Dialect(port, figures);
    const seqs = [];
    client.onText = (text) => (text.startsWith('42["presence') ? undefined : seqs.push(Number(/"(?:seq|offset)":(\d+)/.exec(text)?.[1])));
    const closed = new Promise((_, reject) => (client.onClose = (error) => reject(error ?? new Error('closed'))));
    const since = Dialect === Centrifugo ? { epoch, offset: seq } : { epoch, seq };
    const joined = await Promise.race([closed, client.ready.then(() => client.join(chatOf(index), replay ? since : undefined))]);
    figures.latencies.push(performance.now() - began);
    client.onText = (text) => (repeated += text.includes('new-msg') || text.includes('"pub"') ? 1 : 0);
    if (replay && (!joined.recovered || seqs.length !== missed || seqs.some((found, at) => found !== seq + 1 + at)))
      figures.fault(`client ${index} was to receive ${missed} messages after ${seq}: ${seqs}, ${JSON.stringify(joined)}`);
  };
  await pool(count, count, back);
  const found = figures.end();
  await sleep(QUIET_MS);
  if (repeated > 0) figures.fault(`${repeated} messages after a join`);
  figures.print({ ...found, secondsTo99: figures.latencies[Math.floor(count * 0.99)] / 1000, refused });
}

const modes = {
  fanout,
  rooms,
  ack,
  join,
  idle,
  storm,
  post: () => post(job, figures, connected, pool),
  catchup: () => catchUp(job, figures, pool),
};
await modes[mode]().catch(fail);
