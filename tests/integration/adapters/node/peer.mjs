// A Node server of the cluster, driven by lines of JSON: {id, op, ...} in, {id, result} or {id, error} out.
// usage: node peer.mjs <Redis port> [classic | sharded | static | streams | sharded-cluster | streams-cluster [recovery]]
// Bytes travel as {"$bytes": base64}, dates as {"$date": ms}, undefined as {"$undefined": true}.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { Emitter } from "@socket.io/redis-emitter";
import { Cluster, Redis } from "ioredis";
import { Server } from "socket.io";

const notepack = createRequire(createRequire(import.meta.url).resolve("@socket.io/redis-adapter"))("notepack.io");
const redisPort = Number(process.argv[2]);
const kind = process.argv[3] ?? "classic";
const retryStrategy = () => 50;
const pub =
  kind.endsWith("-cluster")
    ? new Cluster([{ host: "127.0.0.1", port: redisPort }], { shardedSubscribers: true, clusterRetryStrategy: retryStrategy })
    : new Redis(redisPort, "127.0.0.1", { retryStrategy, maxRetriesPerRequest: null });
const sub = pub.duplicate();
const emitterClient = pub.duplicate();
for (const client of [pub, sub, emitterClient]) client.on("error", () => {});

const http = createServer();
const io = new Server(http, process.argv[4] === "recovery" ? { connectionStateRecovery: {} } : {});
const adapters = {
  classic: () => createAdapter(pub, sub, { requestsTimeout: 2000 }),
  sharded: () => createShardedAdapter(pub, sub),
  static: () => createShardedAdapter(pub, sub, { subscriptionMode: "static" }),
  streams: async () => (await import("@socket.io/redis-streams-adapter")).createAdapter(pub, { blockTimeInMs: 200 }),
};
io.adapter(await adapters[kind.replace("-cluster", "")]());
io.of("/x");
io.on("connection", (socket) => socket.on("join", (room, done) => { socket.join(room); done(); }));
io.on("who", (done) => done("node"));
io.of("/x").on("who", (done) => done("node /x"));
const notes = [];
io.on("note", (...args) => void notes.push(args));
const emitter = new Emitter(emitterClient);

const revive = (_, value) =>
  value?.$bytes !== undefined ? Buffer.from(value.$bytes, "base64")
  : value?.$date !== undefined ? new Date(value.$date)
  : value;
const withUndefined = (value) =>
  Array.isArray(value) ? value.map((item) => (item?.$undefined ? undefined : withUndefined(item)))
  : value && value.constructor === Object
    ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, v?.$undefined ? undefined : withUndefined(v)]))
    : value;

const broadcasting = ({ nsp = "/", rooms = [], except = [], volatile, local }, from) => {
  let operator = from.of(nsp).to(rooms).except(except);
  if (volatile) operator = operator.volatile;
  return local ? operator.local : operator;
};
const promised = (start) => new Promise((resolve, reject) => start((error, value) => (error ? reject(error) : resolve(value))));

const through = { node: io, emitter };
const ops = {
  emit: (c) => void broadcasting(c, through[c.from]).emit(...withUndefined(c.args)),
  join: (c) => void broadcasting(c, through[c.from]).socketsJoin(c.join),
  leave: (c) => void broadcasting(c, through[c.from]).socketsLeave(c.leave),
  disconnect: (c) => void broadcasting(c, through[c.from]).disconnectSockets(c.close),
  fetch: async (c) =>
    (await broadcasting(c, io).fetchSockets()).map(({ id, handshake, rooms, data }) => ({ id, handshake, rooms: [...rooms], data })),
  rooms: async (c) => [...(await io.of(c.nsp ?? "/").adapter.allRooms())],
  sids: async (c) => {
    // Version 8 only responds to this request: send it as version 7 does.
    const { requestChannel, responseChannel } = io.of("/").adapter;
    const listener = pub.duplicate();
    await listener.subscribe(responseChannel);
    const answers = [];
    const enough = new Promise((resolve) =>
      listener.on("message", (_, text) => { answers.push(JSON.parse(text)); if (answers.length === c.servers) resolve(); }));
    await pub.publish(requestChannel, JSON.stringify({ uid: "v7uid1", requestId: "v7req1", type: 0, rooms: c.rooms }));
    await enough;
    listener.disconnect();
    return answers.flatMap((answer) => answer.sockets);
  },
  notes: () => notes,
  note: (c) => void (c.from === "emitter" ? emitter : io).serverSideEmit("note", ...c.args),
  serverSideEmit: (c) => promised((done) => io.serverSideEmit(...c.args, done)),
  emitWithAck: (c) => broadcasting(c, io).timeout(c.timeout).emitWithAck(...c.args),
  servers: () => io.of("/").adapter.serverCount(),
  pack: (c) => ({ $bytes: notepack.encode(withUndefined(c.value)).toString("base64") }),
  unpack: (c) => notepack.decode(c.data),
  ready: () => Promise.all([pub, sub, emitterClient].map((client) => client.status === "ready" || new Promise((r) => client.once("ready", r)))).then(() => true),
};

await ops.ready();
http.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: http.address().port })));
createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const command = JSON.parse(line, revive);
    try {
      console.log(JSON.stringify({ id: command.id, result: (await ops[command.op](command)) ?? null }));
    } catch (error) {
      console.log(JSON.stringify({ id: command.id, error: String(error) }));
    }
  })
  .on("close", () => process.exit(0));
