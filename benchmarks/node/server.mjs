// The peer in Node: the guide's server. Express stores a message, synced to the disk, and emits it to the chat's room;
// Socket.IO answers acks and joins, and emits bursts.
// node server.mjs PORT [redis=PORT] [sqlite=FILE | postgres=URL]
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import express from 'express';
import { Server } from 'socket.io';

const [port, ...pairs] = process.argv.slice(2);
const options = Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]));

const app = express();
app.use(express.json());
const http = createServer(app);
const io = new Server(http, { pingInterval: 300_000, transports: ['websocket'], serveClient: false });

if (options.redis) {
  const { createAdapter } = await import('@socket.io/redis-adapter');
  const { Redis } = await import('ioredis');
  const redis = new Redis(Number(options.redis), '127.0.0.1');
  io.adapter(createAdapter(redis, redis.duplicate()));
}

const TABLE = `
  CREATE TABLE messages (id TEXT PRIMARY KEY, chat_id TEXT, role TEXT, content TEXT, client_msg_id TEXT, created_at TEXT);
  CREATE UNIQUE INDEX once ON messages (chat_id, client_msg_id);
`;

/** A function that stores one row. */
async function store() {
  if (options.postgres) {
    const { default: pg } = await import('pg');
    const pool = new pg.Pool({ connectionString: options.postgres });
    await pool.query(TABLE);
    return (row) => pool.query({ name: 'insert', text: 'INSERT INTO messages VALUES ($1, $2, $3, $4, $5, $6)', values: row });
  }
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(options.sqlite);
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; ${TABLE}`);
  const insert = database.prepare('INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?)');
  return (row) => insert.run(...row);
}

if (options.postgres || options.sqlite) {
  const insert = await store();
  app.post('/api/chat/messages', async (request, response) => {
    const { chatId, role, content, clientMsgId } = request.body;
    const message = { id: randomUUID(), chatId, role, content, clientMsgId, time: new Date().toISOString() };
    await insert([message.id, chatId, role, content, clientMsgId, message.time]);
    io.to(`chat:${chatId}`).emit('new-msg', message);
    response.status(201).json(message);
  });
}

io.on('connection', (socket) => {
  socket.on('echo', (number, ack) => ack(number));
  socket.on('join-chat', (chatId, ack) => {
    socket.join(`chat:${chatId}`);
    ack({ ok: true });
  });
  socket.on('blast', ({ room, message, ticks, perTick }) => {
    let { n } = message;
    let left = ticks;
    const tick = () => {
      for (let i = 0; i < perTick; i += 1) io.to(room).emit('new-msg', { ...message, n: n++ });
      left -= 1;
      if (left > 0) setImmediate(tick);
    };
    tick();
  });
});

http.listen(Number(port), '127.0.0.1', () => console.log('ready'));
