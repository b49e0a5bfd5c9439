// Load generator for Socket.IO over WebSocket: events with acks, or connections with a join, on plain sockets.
// node socket_load.mjs PORT CLIENTS SECONDS ack|join EVENT → one JSON line. Checks each answer.
import net from 'node:net';
import { Figures } from './figures.mjs';

const [port, clients, seconds, mode, event] = process.argv.slice(2);
const figures = new Figures();
let running = Number(clients);
let end = Infinity;

const handshake = Buffer.from(
  `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
);

function frame(text) {
  const size = Buffer.byteLength(text);
  const head = size < 126 ? [0x81, 0x80 | size, 0, 0, 0, 0] : [0x81, 0xfe, size >> 8, size & 255, 0, 0, 0, 0];
  return Buffer.concat([Buffer.from(head), Buffer.from(text)]);
}

class Client {
  constructor(onText) {
    this.buffer = Buffer.alloc(0);
    this.open = false;
    this.socket = net.connect(Number(port), '127.0.0.1');
    this.socket.setNoDelay(true);
    this.socket.on('connect', () => this.socket.write(handshake));
    this.socket.on('error', fail);
    this.socket.on('close', () => this.ended || fail(new Error('the server closed a connection')));
    this.socket.on('data', (chunk) => {
      this.buffer = this.buffer.length ? Buffer.concat([this.buffer, chunk]) : chunk;
      if (!this.open) {
        const head = this.buffer.indexOf('\r\n\r\n');
        if (head < 0) return;
        this.open = true;
        this.buffer = this.buffer.subarray(head + 4);
      }
      for (;;) {
        if (this.buffer.length < 2) return;
        let length = this.buffer[1];
        let start = 2;
        if (length === 126) {
          if (this.buffer.length < 4) return;
          length = this.buffer.readUInt16BE(2);
          start = 4;
        }
        if (this.buffer.length < start + length) return;
        const text = this.buffer.toString('utf8', start, start + length);
        this.buffer = this.buffer.subarray(start + length);
        if (text === '2') this.send('3');
        else onText(this, text);
      }
    });
  }
  send(text) {
    this.socket.write(frame(text));
  }
  close() {
    this.ended = true;
    this.socket.destroy();
  }
}

function fail(error) {
  console.error(String(error));
  process.exit(1);
}

function ended(client) {
  client.close();
  running -= 1;
  if (running === 0) figures.finish();
}

if (mode === 'ack') {
  const ready = [];
  const next = (client) => {
    if (performance.now() >= end) return ended(client);
    client.number += 1;
    client.at = performance.now();
    client.send(`42${client.number}["${event}",${client.number}]`);
  };
  for (let i = 0; i < Number(clients); i += 1) {
    new Client((client, text) => {
      if (text.startsWith('0{')) client.send('40');
      else if (text.startsWith('40')) {
        client.number = 0;
        ready.push(client);
        if (ready.length === Number(clients)) {
          end = figures.begin(Number(seconds));
          ready.forEach(next);
        }
      } else {
        if (text !== `43${client.number}[${client.number}]`) figures.wrong += 1;
        figures.latencies.push(performance.now() - client.at);
        next(client);
      }
    });
  }
} else {
  let number = 0;
  const open = () => {
    if (performance.now() >= end) {
      running -= 1;
      if (running === 0) figures.finish();
      return;
    }
    number += 1;
    const chat = `bench-${number % 100}`;
    const at = performance.now();
    new Client((client, text) => {
      if (text.startsWith('0{')) client.send('40');
      else if (text.startsWith('40')) client.send(`421["${event}","${chat}"]`);
      else if (text.startsWith('431')) {
        if (!text.includes('"ok":true')) figures.wrong += 1;
        figures.latencies.push(performance.now() - at);
        client.close();
        open();
      }
    });
  };
  end = figures.begin(Number(seconds));
  for (let i = 0; i < Number(clients); i += 1) open();
}
