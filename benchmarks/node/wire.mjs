// Clients of Socket.IO and of Centrifugo on plain sockets that share one buffer for reading. A numbered message is found
// by its place in the frame, without a copy; other frames become text.
import net from 'node:net';

/** The first number of numbered messages; all have seven digits. */
export const FIRST = 1_000_000;
const DIGITS = 7;
const shared = Buffer.allocUnsafe(1 << 18);

/** One masked text frame with a zero mask, which leaves the payload as it is. */
export function frame(text) {
  const size = Buffer.byteLength(text);
  const head =
    size < 126
      ? [0x81, 0x80 | size]
      : size < 65_536
        ? [0x81, 0xfe, size >> 8, size & 255]
        : [0x81, 0xff, 0, 0, 0, 0, size >>> 24, (size >> 16) & 255, (size >> 8) & 255, size & 255];
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), Buffer.from(text)]);
}

function number(bytes, at) {
  let value = 0;
  for (let end = at + DIGITS; at < end; at += 1) value = value * 10 + bytes[at] - 48;
  return value;
}

class Client {
  /** Number of the next message; NaN: numbered messages are text. */
  next = NaN;
  onText = () => {};
  onClose = (error) => fail(error ?? new Error('the server closed a connection'));
  #open = false;
  #rest = null;

  /** @param counter its `arrived(client)` is called for each numbered message in order, `fault(text)` for others */
  constructor(port, path, counter) {
    this.counter = counter;
    this.socket = net.connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: { buffer: shared, callback: (size) => this.#read(shared, size) },
    });
    this.socket.on('connect', () =>
      this.socket.write(
        `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
      ),
    );
    this.socket.on('error', (error) => this.onClose(error));
    this.socket.on('close', () => this.ended || this.onClose());
  }

  send(text) {
    this.socket.write(frame(text));
  }

  close() {
    this.ended = true;
    this.socket.destroy();
  }

  #read(bytes, size) {
    let from = 0;
    if (this.#rest !== null) {
      bytes = Buffer.concat([this.#rest, bytes.subarray(0, size)]);
      size = bytes.length;
      this.#rest = null;
    }
    if (!this.#open) {
      const head = bytes.subarray(0, size).indexOf('\r\n\r\n');
      if (head >= 0) {
        this.#open = true;
        from = head + 4;
        this.opened?.();
      } else {
        this.#rest = Buffer.from(bytes.subarray(0, size));
        return;
      }
    }
    while (size - from >= 2) {
      let length = bytes[from + 1];
      let start = from + 2;
      if (length === 126) {
        if (size - from < 4) break;
        length = (bytes[from + 2] << 8) | bytes[from + 3];
        start = from + 4;
      } else if (length === 127) {
        if (size - from < 10) break;
        length = bytes.readUInt32BE(from + 6);
        start = from + 10;
      }
      if (size < start + length) break;
      const text = bytes[from] === 0x81;
      from = start + length;
      if (!text) this.onClose(new Error(`no text frame: ${bytes.toString('latin1', start, from)}`));
      else this.frame(bytes, start, from);
    }
    if (from < size) this.#rest = Buffer.from(bytes.subarray(from, size));
  }

  /** Check the number of a message. */
  take(value) {
    if (value === this.next) {
      this.next += 1;
      this.counter.arrived(this);
    } else this.counter.fault(`message ${value} instead of ${this.next}`);
  }
}

const NEW_MSG = '42["new-msg",{"n":'.length;

/** A client of Socket.IO. `call` resolves with the ack's argument. */
export class SocketIo extends Client {
  static path = '/socket.io/?EIO=4&transport=websocket';
  #calls = new Map();
  #id = 0;

  constructor(port, counter) {
    super(port, SocketIo.path, counter);
    this.ready = new Promise((resolve) => (this.#ready = resolve));
  }
  #ready;

  frame(bytes, start, end) {
    // 42["new-msg" differs from the other events at its fifth byte.
    if (bytes[start] === 52 && bytes[start + 1] === 50 && bytes[start + 4] === 110 && !Number.isNaN(this.next)) {
      this.take(number(bytes, start + NEW_MSG));
      return;
    }
    const text = bytes.toString('utf8', start, end);
    if (text === '2') this.send('3');
    else if (text.startsWith('0{')) this.send('40');
    else if (text.startsWith('40')) this.#ready(this);
    else if (text.startsWith('43')) {
      const bracket = text.indexOf('[');
      const id = Number(text.slice(2, bracket));
      const answer = this.#calls.get(id);
      if (answer === undefined) this.counter.fault(`an ack that was not asked for: ${text}`);
      else {
        this.#calls.delete(id);
        answer(JSON.parse(text.slice(bracket))[0]);
      }
    } else this.onText(text);
  }

  call(event, argument) {
    this.#id += 1;
    this.send(`42${this.#id}${JSON.stringify([event, argument])}`);
    return new Promise((resolve) => this.#calls.set(this.#id, resolve));
  }

  /** Call `done(ok)` with the ack of an event that returns its number. */
  echo(value, done) {
    this.#id += 1;
    this.#calls.set(this.#id, (answer) => done(answer === value));
    this.send(`42${this.#id}["echo",${value}]`);
  }

  /** Join a chat, with the messages after `since`; resolves with {epoch, seq}. */
  async join(chat, since) {
    const answer = await this.call('join-chat', since ? { chatId: chat, since } : chat);
    if (answer?.ok !== true) throw new Error(`join: ${JSON.stringify(answer)}`);
    return answer;
  }
}

const PUB = 'pub":{"data":{"n":';

/** A client of Centrifugo's JSON protocol: a frame has one command or push in each line. */
export class Centrifugo extends Client {
  static path = '/connection/websocket';
  /** Whether subscriptions have a position. The server ends one when it finds a gap, and the client subscribes again. */
  static recoverable = true;
  #calls = new Map();
  #id = 0;
  #prefix = Infinity;
  #recovering = false;
  #onText;

  constructor(port, counter) {
    super(port, Centrifugo.path, counter);
    this.opened = () => void this.#command('connect', {}).then(() => this.#ready(this));
    this.ready = new Promise((resolve) => (this.#ready = resolve));
  }
  #ready;

  frame(bytes, start, end) {
    while (start < end) {
      let stop = start;
      // {"push": differs from a reply, {"id":, and from a ping, {}; "pub" from "unsubscribe".
      if (bytes[start + 2] === 112 && bytes[start + this.#prefix - PUB.length] === 112 && !Number.isNaN(this.next)) {
        this.take(number(bytes, start + this.#prefix));
        stop = start + this.#prefix + DIGITS;
        while (stop < end && bytes[stop] !== 10) stop += 1;
      } else {
        while (stop < end && bytes[stop] !== 10) stop += 1;
        this.#reply(bytes.toString('utf8', start, stop));
      }
      start = stop + 1;
    }
  }

  #reply(text) {
    const reply = JSON.parse(text);
    if (reply.id !== undefined) {
      const answer = this.#calls.get(reply.id);
      if (answer === undefined) return this.counter.fault(`a reply that was not asked for: ${text}`);
      this.#calls.delete(reply.id);
      answer(reply);
    } else if (reply.push?.unsubscribe) void this.#recover();
    else if (reply.push) this.onText(text);
    else this.send('{}');
  }

  /** `taken` gets the reply before the messages that follow it in the same frame. */
  #command(name, argument, taken = () => {}) {
    this.#id += 1;
    this.send(JSON.stringify({ id: this.#id, [name]: argument }));
    return new Promise((resolve, reject) =>
      this.#calls.set(this.#id, (reply) => {
        if (reply.error) reject(new Error(`${name}: ${JSON.stringify(reply.error)}`));
        else {
          taken(reply[name]);
          resolve(reply[name]);
        }
      }),
    );
  }

  echo(value, done) {
    this.#id += 1;
    this.#calls.set(this.#id, (reply) => done(reply.publish !== undefined));
    this.send(`{"id":${this.#id},"publish":{"channel":"echo","data":${value}}}`);
  }

  /** Publish messages; one frame has them all. Resolves when the last one is answered. */
  publish(messages) {
    const lines = [];
    let last;
    for (const [channel, data] of messages) {
      this.#id += 1;
      last = new Promise((resolve) =>
        this.#calls.set(this.#id, (reply) => {
          if (reply.error) this.counter.fault(`publish: ${JSON.stringify(reply.error)}`);
          resolve();
        }),
      );
      lines.push(JSON.stringify({ id: this.#id, publish: { channel, data } }));
    }
    this.send(lines.join('\n'));
    return last;
  }

  /** Subscribe again after the server has found a gap, as Centrifugo's own clients do. */
  async #recover() {
    if (this.#recovering) return;
    this.#recovering = true;
    const { epoch, offset } = this.joined;
    this.#onText = this.onText;
    this.onText = (text) => this.take(JSON.parse(text).data.n);
    for (;;) {
      try {
        const { recovered } = await this.join(this.chat, { epoch, offset: offset + this.next - this.first });
        if (!recovered) this.counter.fault('a subscription was not recovered');
        break;
      } catch (error) {
        if (!error.message.includes('already subscribed')) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50)); // the server is still removing it
      }
    }
  }

  async join(chat, since) {
    this.chat = chat;
    this.#prefix = `{"push":{"channel":"${chat}","${PUB}`.length;
    const request = { channel: chat, recoverable: Centrifugo.recoverable, ...(since && { recover: true, ...since }) };
    const found = await this.#command('subscribe', request, ({ publications = [] }) => {
      for (const publication of publications) this.onText(JSON.stringify(publication));
      if (this.#recovering) this.onText = this.#onText;
      this.#recovering = false; // the next gap may be in the same frame
    });
    return { epoch: found.epoch, seq: found.offset ?? 0, recovered: found.recovered, offset: found.offset ?? 0 };
  }
}

export function fail(error) {
  console.error(String(error.stack ?? error));
  process.exit(1);
}
