// The official client against a Roomcast server; prints its observations as one line of JSON.
// usage: node client.mjs <path of socket.io-client> <url> <transports, comma-separated>
const [, , modulePath, url, transports] = process.argv;
const { io } = await import(modulePath);

const socket = io(url, { transports: transports.split(","), auth: { token: "t" }, reconnection: false, tryAllTransports: true });
const seen = { transports: [], order: [] };

const fail = (reason) => {
  console.error(reason);
  process.exit(1);
};
setTimeout(() => fail("timed out"), 20_000).unref();
socket.on("connect_error", (error) => fail(`connect_error: ${error.message}`));

const events = {};
const got = (name) => (events[name] ??= Promise.withResolvers()).promise;
for (const name of ["welcome", "said", "news"]) {
  socket.on(name, (...args) => (events[name] ??= Promise.withResolvers()).resolve(args));
}
socket.on("number", (n) => {
  seen.order.push(n);
  if (n === 499) (events.numbers ??= Promise.withResolvers()).resolve();
});
socket.on("question", (a, bytes, ack) => ack(a, [...bytes], "answered"));

await got("welcome");
seen.transports.push(socket.io.engine.transport.name);
seen.echo = await socket.emitWithAck("echo-one", { text: "ü", bytes: Buffer.from([0, 255]) });
seen.echo.bytes = [...seen.echo.bytes];
seen.asked = await socket.emitWithAck("ask-me");
await socket.emitWithAck("join", "r");
socket.emit("say", "r", { file: Buffer.from([1, 2, 3]) });
seen.said = [...(await got("said"))[0].file];
// Numbers begin at once, so that the upgrade, if there is one, happens in the middle of them.
socket.emit("count", 500);
await got("numbers");
seen.inOrder = seen.order.every((n, index) => n === index) && seen.order.length === 500;
delete seen.order;
if (transports === "polling,websocket" && socket.io.engine.transport.name !== "websocket") {
  await new Promise((resolve) => socket.io.engine.once("upgrade", resolve));
}
seen.transports.push(socket.io.engine.transport.name);
socket.disconnect();
console.log(JSON.stringify(seen));
