// Requests to the API on keep-alive connections over plain sockets, one at a time on each.
import net from 'node:net';
import { fail } from './wire.mjs';

class Connection {
  #parts = [];
  #size = 0;
  #wanted = 0;
  #body = 0;
  #resolve;

  constructor(port) {
    this.port = port;
    this.socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket.on('data', (chunk) => this.#read(chunk));
    this.socket.on('error', fail);
    this.socket.on('close', () => this.#resolve && fail(new Error('the API closed a connection')));
  }

  /** Resolves with the status and the bytes of the body. */
  request(method, path, body = '') {
    const head = body ? `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` : '';
    this.socket.write(`${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1:${this.port}\r\n${head}\r\n${body}`);
    return new Promise((resolve) => (this.#resolve = resolve));
  }

  #read(chunk) {
    this.#parts.push(chunk);
    this.#size += chunk.length;
    if (this.#wanted === 0) {
      const bytes = this.#parts.length === 1 ? chunk : Buffer.concat(this.#parts);
      const end = bytes.indexOf('\r\n\r\n');
      if (end < 0) return;
      const length = /\r\ncontent-length: (\d+)/i.exec(bytes.toString('latin1', 0, end));
      if (length === null) fail(new Error('an answer without Content-Length'));
      this.#body = end + 4;
      this.#wanted = this.#body + Number(length[1]);
    }
    if (this.#size < this.#wanted) return;
    const bytes = this.#parts.length === 1 ? chunk : Buffer.concat(this.#parts);
    const resolve = this.#resolve;
    this.#parts = [];
    this.#size = this.#wanted = 0;
    this.#resolve = undefined;
    resolve({ status: Number(bytes.toString('latin1', 9, 12)), body: bytes.subarray(this.#body) });
  }
}

const idle = [];

/** Send one message to a chat. */
export async function send(port, chat) {
  const connection = idle.pop() ?? new Connection(port);
  const { status, body } = await connection.request('POST', '/api/chat/messages', JSON.stringify({ chatId: chat, role: 'USER', content: 'x'.repeat(120) }));
  if (status !== 201) throw new Error(`POST: ${status} ${body}`);
  idle.push(connection);
}

/**
 * Messages from `senders` connections to `chats` chats, at most `rate` a second in all (0: as fast as each is answered).
 * A member of each chat must receive each message once, those of a sender in their order. Latencies: POST to `new-msg`.
 */
export async function post(job, figures, connected, pool) {
  const { api, senders, chats, rate, seconds, prefix = 'post-', stride = 1, bystanders = 0 } = job;
  const run = Math.random().toString(36).slice(2, 8);
  const chatOf = (chat) => `${prefix}${1 + chat * stride}`;
  await pool(bystanders, 64, (index) => connected(figures, `bystanders-${index % 1_000}`));
  /** When the message that a sender waits for was sent, and its number. */
  const sent = Array.from({ length: senders }, () => ({ at: new Map(), seen: 0 }));
  const seqs = Array.from({ length: chats }, () => new Set());
  let left = 0;
  let drained = () => {};
  const connections = sent.map(() => new Connection(api));
  const body = (sender, number) =>
    JSON.stringify({ chatId: chatOf(sender % chats), role: 'USER', content: 'x'.repeat(120), clientMsgId: `${run}-${sender}-${number}` });
  const write = async (sender, number) => {
    left += 1;
    sent[sender].at.set(number, performance.now());
    const answer = await connections[sender].request('POST', '/api/chat/messages', body(sender, number));
    if (answer.status !== 201) fail(new Error(`POST: ${answer.status} ${answer.body}`));
    const { id, seq } = JSON.parse(answer.body.toString());
    if (id === undefined) figures.fault('an answer without an id');
    if (seq !== undefined) {
      if (seqs[sender % chats].has(seq)) figures.fault(`seq ${seq} was given twice`);
      seqs[sender % chats].add(seq);
    }
  };
  const mark = new RegExp(`"clientMsgId":"${run}-(\\d+)-(\\d+)"`);
  for (let chat = 0; chat < chats; chat += 1) {
    const member = await connected(figures, chatOf(chat));
    member.onText = (text) => {
      const found = text.startsWith('42["new-msg"') && mark.exec(text);
      if (!found) return;
      const sender = sent[Number(found[1])];
      const number = Number(found[2]);
      if (number !== sender.seen + 1) figures.fault(`message ${number} of sender ${found[1]} after ${sender.seen}`);
      sender.seen = number;
      figures.latencies.push(performance.now() - sender.at.get(number));
      sender.at.delete(number);
      left -= 1;
      if (left === 0) drained();
    };
  }
  const numbers = sent.map(() => 0);
  const load = async (milliseconds) => {
    const began = performance.now();
    let due = 0;
    const one = async (sender) => {
      while (performance.now() - began < milliseconds) {
        if (rate) {
          const wait = began + (due++ / rate) * 1000 - performance.now();
          if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
        }
        await write(sender, ++numbers[sender]);
      }
    };
    await Promise.all(sent.map((_, sender) => one(sender)));
  };
  const arrived = async () => {
    if (left > 0)
      await new Promise((resolve, reject) => {
        drained = resolve;
        setTimeout(() => reject(new Error(`${left} messages did not arrive within 10 s`)), 10_000).unref();
      });
  };
  await load(300); // a warm-up
  await arrived();
  figures.latencies = [];
  const before = numbers.reduce((sum, number) => sum + number, 0);
  figures.begin();
  await load(seconds * 1000);
  const found = figures.end(numbers.reduce((sum, number) => sum + number, 0) - before);
  await arrived();
  for (const chat of seqs) if (chat.size && Math.max(...chat) - Math.min(...chat) + 1 !== chat.size) figures.fault("a seq is missing");
  figures.print({ ...found, ...figures.percentiles() });
}

const SEQ = Buffer.from('{"seq":');

/** `clients` readers read all events of a chat in pages, at the same time; each must see every seq, in order. */
export async function catchUp(job, figures, pool) {
  const { api, clients, messages, chat, limit } = job;
  figures.begin();
  let pages = 0;
  let bytes = 0;
  await pool(clients, clients, async () => {
    const connection = new Connection(api);
    let after = 0;
    for (let more = true; more; ) {
      const { status, body } = await connection.request('GET', `/api/chats/${chat}/events?after=${after}&limit=${limit}`);
      if (status !== 200) fail(new Error(`GET: ${status} ${body}`));
      pages += 1;
      bytes += body.length;
      more = body.toString('latin1', Math.max(0, body.length - 80)).includes('"more":true');
      for (let at = body.indexOf(SEQ); at >= 0; at = body.indexOf(SEQ, at)) {
        let seq = 0;
        for (at += SEQ.length; body[at] >= 48 && body[at] <= 57; at += 1) seq = seq * 10 + body[at] - 48;
        if (seq !== after + 1) figures.fault(`seq ${seq} after ${after}`);
        after = seq;
      }
    }
    if (after !== messages) figures.fault(`a reader ended at ${after} of ${messages}`);
    figures.latencies.push(performance.now());
    connection.socket.destroy();
  });
  figures.print({ ...figures.end(clients * messages), pages, bytes });
}
