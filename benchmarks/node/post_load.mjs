// Load generator for POST /api/chat/messages: keep-alive connections over plain sockets, one request at a time on each.
// node post_load.mjs PORT CONNECTIONS SECONDS CHATS → one JSON line.
import net from 'node:net';
import { Figures } from './figures.mjs';

const [port, connections, seconds, chats] = process.argv.slice(2).map(Number);
const run = Math.random().toString(36).slice(2);
const figures = new Figures();
const end = figures.begin(seconds);
const seen = new Map();
let running = connections;

function open(number) {
  const socket = net.connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  let sent = 0;
  let at = 0;
  let buffer = '';
  const chat = `bench-${number % chats}`;
  const send = () => {
    if (performance.now() >= end) {
      socket.destroy();
      if (--running === 0) finish();
      return;
    }
    sent += 1;
    const body = JSON.stringify({ chatId: chat, role: 'USER', content: 'x'.repeat(120), clientMsgId: `${run}-${number}-${sent}` });
    at = performance.now();
    socket.write(
      `POST /api/chat/messages HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
  };
  socket.on('connect', send);
  socket.on('error', (error) => {
    console.error(String(error));
    process.exit(1);
  });
  socket.on('data', (chunk) => {
    buffer += chunk.toString('latin1');
    const head = buffer.indexOf('\r\n\r\n');
    if (head < 0) return;
    const length = Number(/content-length: (\d+)/i.exec(buffer)?.[1]);
    if (buffer.length < head + 4 + length) return;
    figures.latencies.push(performance.now() - at);
    if (!buffer.startsWith('HTTP/1.1 201')) figures.wrong += 1;
    const { id, seq, clientMsgId } = JSON.parse(buffer.slice(head + 4));
    if (clientMsgId !== undefined && clientMsgId !== `${run}-${number}-${sent}`) figures.wrong += 1;
    if (seq !== undefined) {
      const seqs = seen.get(chat) ?? new Set();
      if (seqs.has(seq)) figures.wrong += 1;
      seqs.add(seq);
      seen.set(chat, seqs);
    }
    if (id === undefined) figures.wrong += 1;
    buffer = '';
    send();
  });
}

function finish() {
  for (const seqs of seen.values()) if (Math.max(...seqs) - Math.min(...seqs) + 1 !== seqs.size) figures.wrong += 1;
  figures.finish();
}

for (let number = 0; number < connections; number += 1) open(number);
