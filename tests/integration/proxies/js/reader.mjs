// The official client behind a proxy: joins a chat, reports it, and reads until it has the requested number of messages.
// usage: node reader.mjs <module of socket.io-client> <url> <transports, comma-separated> <chat> <messages> [<path>]
const [, , modulePath, url, transports, chat, wanted, path = "/socket.io/"] = process.argv;
const { io } = await import(modulePath);

// As a browser does: every request may take another connection, and so another gateway.
const socket = io(url, { path, transports: transports.split(","), reconnection: false, forceNew: true });
const seen = { seqs: [], pongs: 0, transports: [], errors: [] };
const say = (line) => console.log(JSON.stringify(line));
const end = () => {
  seen.transports.push(socket.io.engine.transport.name);
  say({ done: seen });
  process.exit(0);
};
const fail = (reason) => {
  seen.errors.push(reason);
  end();
};
setTimeout(() => fail("timed out"), 50_000).unref();
socket.on("connect_error", (error) => fail(`connect_error: ${error.message} ${error.context?.responseText ?? ""}`));
socket.on("disconnect", (reason, details) => fail(`disconnect: ${reason} ${details?.context?.responseText ?? ""}`));
socket.on("new-msg", (message) => {
  seen.seqs.push(message.seq);
  if (seen.seqs.length === Number(wanted)) end();
});

// The first transport is read when the session opens: an upgrade may be done before the namespace is connected.
socket.io.on("open", () => seen.transports.push(socket.io.engine.transport.name));
await new Promise((resolve) => socket.on("connect", resolve));
const ack = await socket.emitWithAck("join-chat", chat);
say({ joined: ack });
while (true) {
  if ((await socket.emitWithAck("ping")) === "pong") seen.pongs += 1;
  await new Promise((resolve) => setTimeout(resolve, 20));
}
