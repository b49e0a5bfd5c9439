// The peer of benchmarks/redis_fanout.py: Node's socket.io with its Redis adapter.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";

const redis = new Redis(Number(process.argv[2]), "127.0.0.1");
const subscriber = redis.duplicate();
const http = createServer();
const io = new Server(http, { pingInterval: 300_000, transports: ["websocket"], serveClient: false });
io.adapter(createAdapter(redis, subscriber));

io.on("connection", (socket) => {
  socket.on("join-chat", (room, ack) => {
    socket.join(`chat:${room}`);
    ack({ ok: true });
  });
});

http.listen(Number(process.argv[3]), "127.0.0.1", () => console.log("ready"));
