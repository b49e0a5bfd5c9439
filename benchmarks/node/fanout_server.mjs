// The peer of benchmarks/fanout.py: Node's socket.io with the handlers of fanout_server.py.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { pingInterval: 300_000, transports: ["websocket"], serveClient: false });

io.on("connection", (socket) => {
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack(true);
  });
  socket.on("blast", ({ room, message, ticks, perTick }) => {
    let left = ticks;
    const tick = () => {
      for (let i = 0; i < perTick; i += 1) io.to(room).emit("new-msg", message);
      left -= 1;
      if (left > 0) setImmediate(tick);
    };
    tick();
  });
});

http.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("ready"));
