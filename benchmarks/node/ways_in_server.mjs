// The peer of benchmarks/ways_in.py: the guide's server in Node. Express stores a message in SQLite, synced to the disk,
// and emits it to the chat's room; Socket.IO answers acks and joins.
// node ways_in_server.mjs PORT DATABASE
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { DatabaseSync } from 'node:sqlite';
import express from 'express';
import { Server } from 'socket.io';

const [port, file] = process.argv.slice(2);
const database = new DatabaseSync(file);
database.exec(`
  PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
  CREATE TABLE messages (id TEXT PRIMARY KEY, chat_id TEXT, role TEXT, content TEXT, client_msg_id TEXT, created_at TEXT);
  CREATE UNIQUE INDEX once ON messages (chat_id, client_msg_id);
`);
const insert = database.prepare('INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?)');

const app = express();
app.use(express.json());
const http = createServer(app);
const io = new Server(http, { pingInterval: 300_000, transports: ['websocket'], serveClient: false });

app.post('/api/chat/messages', (request, response) => {
  const { chatId, role, content, clientMsgId } = request.body;
  const message = { id: randomUUID(), chatId, role, content, clientMsgId, time: new Date().toISOString() };
  insert.run(message.id, chatId, role, content, clientMsgId, message.time);
  io.to(`chat:${chatId}`).emit('new-msg', message);
  response.status(201).json(message);
});

io.on('connection', (socket) => {
  socket.on('echo', (number, ack) => ack(number));
  socket.on('join-chat', (chatId, ack) => {
    socket.join(`chat:${chatId}`);
    ack({ ok: true });
  });
});

http.listen(Number(port), '127.0.0.1', () => console.log('ready'));
