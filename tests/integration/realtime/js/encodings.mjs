// The official client with the msgpack parser against Node's server, started here, and against another server; prints
// both transcripts as one line of JSON.
// usage: node encodings.mjs <path of socket.io-client> <folder of Node's packages> <url of the other server>
import { createServer } from "node:http";
import { createRequire } from "node:module";

const [, , clientPath, packages, url] = process.argv;
const { io: connect } = await import(clientPath);
const require = createRequire(`${packages}/`);
const { Server } = require("socket.io");
const parser = require("socket.io-msgpack-parser");

const http = createServer();
const io = new Server(http, { parser });
io.of("/closed").use((socket, next) => next(Object.assign(new Error("no"), { data: { code: 7 } })));
io.on("connection", (socket) => {
  socket.emit("welcome", socket.handshake.auth);
  socket.on("echo", (...args) => args.pop()(...args));
  socket.on("ask", async (ack) => ack(await socket.emitWithAck("question", Buffer.from([1]))));
  socket.on("all", (value) => io.emit("news", value));
  socket.on("leave", () => socket.disconnect());
});

async function scenario(base, transports) {
  const lines = [];
  const socket = connect(base, { parser, transports, auth: { a: [1, null, "ü"] }, reconnection: false, forceNew: true });
  const got = (name) => new Promise((resolve) => socket.once(name, (...args) => resolve(args)));
  socket.on("question", (bytes, ack) => ack({ bytes: [...bytes] }));
  lines.push(await got("welcome"));
  const values = [0, -1, 127, 128, -129, 2 ** 31, 2 ** 40, 1.5, "", "x".repeat(300), "ü🙂", true, null, [], {}, { a: { b: [1] } }];
  lines.push(await socket.emitWithAck("echo", values));
  lines.push([...(await socket.emitWithAck("echo", Buffer.from([0, 255])))]);
  lines.push(await socket.emitWithAck("ask"));
  const news = got("news");
  socket.emit("all", { text: "y".repeat(3000) });
  lines.push(await news);
  const closed = connect(`${base}/closed`, { parser, transports, reconnection: false, forceNew: true });
  lines.push(await new Promise((resolve) => closed.on("connect_error", (error) => resolve([error.message, error.data]))));
  const reason = got("disconnect");
  socket.emit("leave");
  lines.push((await reason)[0]);
  return lines;
}

setTimeout(() => process.exit(1), 20_000).unref();
await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
const result = {};
for (const [name, base] of [["node", `http://127.0.0.1:${http.address().port}`], ["other", url]]) {
  result[name] = [];
  for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) result[name].push(await scenario(base, transports));
}
// permessage-deflate, with the client of Node's websocket library
const WebSocket = require("ws");
const socket = new WebSocket(`${url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate: { threshold: 0 } });
await new Promise((resolve) => socket.once("message", resolve));
result.extensions = socket.extensions;
console.log(JSON.stringify(result));
process.exit(0);
