// The official client through connections that are cut; prints what it observed as one line of JSON at the end.
// usage: node recovery.mjs <path of socket.io-client> <url> <transport>
// Reads lines from its standard input: each one prints the number of events received so far; its end ends the client.
import { createInterface } from "node:readline";
const [, , modulePath, url, transport] = process.argv;
const { io } = await import(modulePath);

const socket = io(url, {
  transports: [transport], reconnectionDelay: 10, reconnectionDelayMax: 50, auth: (done) => done({ token: "t" }),
});
const numbers = [];
const connects = [];
const say = (data) => console.log(JSON.stringify(data));
socket.on("connect", () => {
  connects.push({ sid: socket.id, recovered: socket.recovered, after: numbers.length });
  say({ connected: connects.length, recovered: socket.recovered });
});
socket.on("disconnect", (reason) => say({ reason }));
socket.on("number", (number, ...rest) => numbers.push([number, rest.length]));
socket.on("hint", () => {});
socket.on("question", (ack) => ack("answer"));
setTimeout(() => process.exit(1), 50_000).unref();
createInterface({ input: process.stdin })
  .on("line", () => say({ received: numbers.length, last: numbers.at(-1)?.[0] ?? null }))
  .on("close", () => {
    say({ numbers, connects });
    process.exit(0);
  });
