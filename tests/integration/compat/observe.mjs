// What the official client observes of a server: arguments are the path of the client and the URL.
import { pathToFileURL } from "node:url";

const [, , client, url] = process.argv;
const { io } = await import(pathToFileURL(client).href);

const seen = [];
const options = { forceNew: true, reconnection: false, path: "/socket.io/" };

function once(socket, event) {
  return new Promise((resolve) => socket.once(event, (...args) => resolve(args)));
}

for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
  const socket = io(url, { ...options, transports, auth: { token: "t" } });
  const events = [];
  socket.on("question", (number, answer) => answer(number + 1, Buffer.from([7])));
  socket.onAny((event, ...args) => events.push([event, ...args]));
  await once(socket, "connect");
  const echoed = await socket.emitWithAck("echo", 1, { data: Buffer.from([0, 255]) });
  const asked = await socket.emitWithAck("ask");
  await socket.emitWithAck("join", "r");
  const ended = once(socket, "disconnect");
  socket.emit("leave");
  seen.push({ transports, events, echoed, asked, rooms: await ended });
}

const refused = io(url, { ...options, transports: ["websocket"], auth: { token: "bad" } });
const [error] = await once(refused, "connect_error");
seen.push({ message: error.message, data: error.data });
refused.close();

const other = io(`${url}/chat`, { ...options, transports: ["websocket"], auth: {} });
await once(other, "connect");
seen.push(await other.emitWithAck("say", "hello"));
other.close();

console.log(JSON.stringify(seen));
