// The admin UI's protocol beside the official server side, started here; prints both transcripts as one line of JSON.
// usage: node admin.mjs <path of socket.io-client> <folder of Node's packages> <url of the other server> <mode>
import { createServer } from "node:http";
import { createRequire } from "node:module";

const [, , clientPath, packages, url, mode] = process.argv;
const { io: connect } = await import(clientPath);
const require = createRequire(`${packages}/`);
const { Server } = require("socket.io");
const { instrument } = require("@socket.io/admin-ui");

const http = createServer();
const io = new Server(http);
instrument(io, { mode, auth: { type: "basic", username: "admin", password: require("bcryptjs").hashSync("secret", 4) } });
io.on("connection", (socket) => {
  socket.data.user = "u";
  socket.on("hello", (text) => socket.emit("hi", text, Buffer.from([1])));
});

const open = (base, auth, options = {}) =>
  new Promise((resolve) => {
    const socket = connect(base, { auth, reconnection: false, forceNew: true, transports: ["websocket"], ...options });
    const events = [];
    socket.onAny((...event) => events.push(event));
    socket.on("connect", () => resolve({ socket, events }));
    socket.on("connect_error", (error) => resolve({ error: error.message }));
  });
const until = async (check) => {
  while (!check()) await new Promise((resolve) => setTimeout(resolve, 5));
};

async function scenario(base) {
  const result = {};
  const admin = `${base}/admin`;
  result.refused = [];
  for (const auth of [{}, { username: "admin", password: "wrong" }, { username: "x", password: "secret" }, { sessionId: "x" }, { username: 1, password: [] }])
    result.refused.push((await open(admin, auth)).error);
  const early = await open(base, {});
  const { socket, events } = await open(admin, { username: "admin", password: "secret" });
  const named = (name) => events.filter((event) => event[0] === name);
  await until(() => named("config").length && named("server_stats").length);
  result.session = typeof named("session")[0][1];
  result.again = (await open(admin, { sessionId: named("session")[0][1] })).error ?? "accepted";
  result.features = named("config")[0][1].supportedFeatures.sort();

  const client = await open(base, {});
  const ids = { [early.socket.id]: "early", [client.socket.id]: "client" };
  await client.socket.emit("hello", "you");
  await until(() => client.events.length === 1);
  socket.emit("join", "/", "room", client.socket.id);
  socket.emit("emit", "/", "room", "to room", 1);
  await until(() => client.events.length === 2);
  if (mode === "development") await until(() => named("room_joined").some(([, , room]) => room === "room"));
  socket.emit("leave", "/", "room", client.socket.id);
  socket.emit("emit", "/", "room", "to nobody", 1);
  socket.emit("emit", "/", undefined, "to all", 2);
  await until(() => client.events.length === 3);
  if (mode === "development") await until(() => named("room_left").some(([, , room]) => room === "room"));
  const closed = new Promise((resolve) => client.socket.on("disconnect", resolve));
  socket.emit("_disconnect", "/", false, client.socket.id);
  result.reason = await closed;
  result.events = [client.events.map(([name, ...args]) => [name, args.length]), early.events.map(([name]) => name)];
  if (mode === "development") await until(() => named("socket_disconnected").some(([, , id]) => ids[id] === "client"));
  const seen = events.length;
  await until(() => events.slice(seen).some(([name]) => name === "server_stats"));

  const stats = named("server_stats").at(-1)[1];
  result.stats = Object.fromEntries(Object.entries(stats).map(([name, value]) => [name, typeof value]));
  result.clients = [stats.clientsCount, stats.pollingClientsCount];
  result.namespaces = stats.namespaces.map(({ name, socketsCount }) => [name, socketsCount]).sort();
  const all = named("server_stats").flatMap(([, { aggregatedEvents }]) => aggregatedEvents);
  result.aggregated = [...new Set(all.map(({ type }) => type))].filter((type) => !/Out|bytes|rawDis/.test(type)).sort();
  const own = (id) => ids[id] ?? "other";
  const sockets = named("all_sockets").flatMap(([, list]) => list);
  const shape = (value) => (value && typeof value === "object" && !Array.isArray(value) ? Object.keys(value).sort() : typeof value);
  const described = [...sockets, ...named("socket_connected").map(([, described]) => described)];
  result.shapes = described.filter(({ nsp }) => nsp === "/").map((s) => [own(s.id), shape(s), shape(s.handshake), sockets.includes(s) && s.data.user, s.transport, s.rooms.map(own)]);
  result.reported = ["event_received", "event_sent", "room_joined", "room_left", "socket_disconnected"].map((name) => [
    name,
    named(name).filter(([, nsp]) => nsp === "/").map((event) => event.slice(2, -1).map((x) => (typeof x === "string" && x.length === 20 ? own(x) : Buffer.isBuffer(x) ? [...x] : x)))
      .filter((args) => !(name.startsWith("room") && args[0] !== "room")).map((args) => JSON.stringify(args)).sort(),
  ]);
  for (const one of [socket, early.socket, client.socket]) one.disconnect();
  return result;
}

setTimeout(() => process.exit(1), 30_000).unref();
await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
const [node, other] = await Promise.all([scenario(`http://127.0.0.1:${http.address().port}`), scenario(url)]);
console.log(JSON.stringify({ node, other }));
process.exit(0);
