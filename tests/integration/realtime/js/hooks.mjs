// One scenario of the official client against Node's Socket.IO server, started here, and against another server; prints
// both transcripts as one line of JSON.
// usage: node hooks.mjs <path of socket.io-client> <path of socket.io> <url of the other server>
import { createServer } from "node:http";

const [, , clientPath, serverPath, url] = process.argv;
const { io: connect } = await import(clientPath);
const { Server } = await import(serverPath);

const http = createServer();
const io = new Server(http, { cleanupEmptyChildNamespaces: true });
const failure = (message, data) => Object.assign(new Error(message), { data });

// dynamic namespaces
const tenants = io.of(/^\/tenant-\d+$/);
tenants.use((socket, next) => next(socket.handshake.auth.banned ? failure("banned", { until: 5 }) : undefined));
tenants.on("connection", (socket) => {
  socket.emit("hello", socket.nsp.name);
  socket.on("everyone", () => socket.nsp.emit("news", socket.nsp.name));
  socket.on("every tenant", () => tenants.emit("bulletin", 1));
});
let asked = 0;
io.of(async (name, auth, next) => {
  asked += 1;
  await null;
  next(null, name.startsWith("/dated-") && auth.key === "k");
}).on("connection", (socket) => socket.emit("hello", socket.nsp.name));

// middleware
const guarded = io.of("/guarded");
guarded.use((socket, next) => {
  socket.data.order = ["first"];
  next();
});
guarded.use(async (socket, next) => {
  await null;
  socket.data.order.push("second");
  next(socket.handshake.auth.token === "t" ? undefined : failure("unauthorized", { code: 401 }));
});
guarded.on("connection", (socket) => {
  const seen = [];
  socket.onAny((name) => seen.push(name));
  const outgoing = [];
  socket.onAnyOutgoing((name, ...args) => outgoing.push([name, ...args]));
  socket.use((event, next) => {
    if (event[0] === "double") [event[0], event[1]] = ["echo", event[1] * 2];
    if (event[0] === "refused") return next(new Error("no"));
    next();
  });
  socket.on("error", () => {});
  socket.on("echo", (value, ack) => ack(value));
  socket.on("order", (ack) => ack(socket.data.order));
  socket.on("silent", () => {});
  socket.on("later", (ack) => setTimeout(() => (ack("late"), ack("twice")), 10));
  socket.on("say", () => {
    socket.join("room");
    socket.emit("direct", Buffer.from([1]));
    io.of("/guarded").to("room").emit("to room", { a: 1 });
    io.of("/guarded").emit("to all");
    io.of("/guarded").except("room").emit("to others");
  });
  socket.on("seen", (ack) => ack({ seen, outgoing }));
});

async function scenario(base) {
  const lines = [];
  const open = (name, auth, events = []) =>
    new Promise((resolve) => {
      const socket = connect(base + name, { auth, reconnection: false, forceNew: true, transports: ["websocket"] });
      const socketLines = [];
      for (const event of events) socket.on(event, (...args) => socketLines.push([event, ...args]));
      socket.on("connect_error", (error) => resolve({ error: [error.message, error.data ?? null] }));
      socket.on("connect", () => resolve({ socket, lines: socketLines }));
    });
  const acked = async (socket, ...event) => {
    try {
      return await socket.timeout(150).emitWithAck(...event);
    } catch {
      return "no ack";
    }
  };
  const until = async (check) => {
    while (!check()) await new Promise((resolve) => setTimeout(resolve, 2));
  };

  const one = await open("/tenant-1", {}, ["hello", "news", "bulletin"]);
  const two = await open("/tenant-2", {}, ["hello", "news", "bulletin"]);
  one.socket.emit("everyone");
  await until(() => one.lines.length === 2);
  one.socket.emit("every tenant");
  await until(() => one.lines.length === 3 && two.lines.length === 2);
  lines.push(one.lines, two.lines);
  lines.push((await open("/tenant-x", {})).error, (await open("/tenant-3", { banned: true })).error);
  lines.push((await open("/dated-1", { key: "wrong" })).error, (await open("/else", { key: "k" })).error);
  const dated = await open("/dated-1", { key: "k" }, ["hello"]);
  await until(() => dated.lines.length === 1);
  const again = await open("/dated-1", { key: "wrong, but the namespace exists" }, ["hello"]);
  await until(() => again.lines.length === 1);
  lines.push(dated.lines, again.lines);

  lines.push((await open("/guarded", { token: "wrong" })).error);
  const { socket, lines: got } = await open("/guarded", { token: "t" }, ["direct", "to room", "to all", "to others"]);
  for (const event of [["order"], ["double", 4], ["refused", 1], ["silent"], ["later"]])
    lines.push([event[0], await acked(socket, ...event)]);
  socket.emit("say");
  await until(() => got.length === 3);
  const seen = await acked(socket, "seen");
  lines.push(got.map(([name]) => name), seen.seen, seen.outgoing.map(([name, ...args]) => [name, args.map((a) => (Buffer.isBuffer(a) ? [...a] : a))]));
  for (const client of [one, two, dated, again]) client.socket.disconnect();
  socket.disconnect();
  return lines;
}

setTimeout(() => process.exit(1), 20_000).unref();
await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
const node = await scenario(`http://127.0.0.1:${http.address().port}`);
const other = await scenario(url);
console.log(JSON.stringify({ node, other, asked }));
process.exit(0);
