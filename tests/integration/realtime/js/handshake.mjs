// The same HTTP requests to Node's Socket.IO server, started here, and to another server; prints both results as JSON.
// usage: node handshake.mjs <path of socket.io> <url of the other server>
import { createServer } from "node:http";

const [, , serverPath, url] = process.argv;
const { Server } = await import(serverPath);

const http = createServer();
const io = new Server(http, {
  cookie: true,
  allowRequest: (request, next) => {
    const token = request.headers["x-token"];
    setTimeout(() => next(token === "banned" ? "You are banned" : null, token === "t"), 1);
  },
});
io.engine.on("initial_headers", (headers) => { headers["x-first"] = "yes"; });
io.on("connection", (socket) => {
  socket.on("big", (size) => socket.emit("text", "x".repeat(size)));
});

async function results(base) {
  const found = [];
  let sid;
  const ask = async (query, { body, ...headers } = {}) => {
    const options = { method: body === undefined ? "GET" : "POST", body, headers };
    const response = await fetch(`${base}/socket.io/?EIO=4&transport=polling${query}`, options);
    const text = await response.text();
    if (text.startsWith("0{")) sid = JSON.parse(text.slice(1)).sid;
    found.push([
      response.status,
      text.replace(/"(sid|message)":"[A-Za-z0-9_-]{20,}"/g, '"$1":""').replace(/"maxPayload":\d+/, "").slice(0, 200),
      (response.headers.get("set-cookie") ?? "").replace(sid, "SID"),
      response.headers.get("content-encoding"),
      response.headers.get("x-first"),
    ]);
  };
  await ask("");
  await ask("", { "x-token": "banned" });
  await ask("", { "x-token": "t" });
  const own = `&sid=${sid}`;
  await ask(own, { body: "40" });
  await ask(own);
  for (const [size, encoding] of [[2000, "gzip"], [2000, "deflate"], [2000, "identity"], [2000, "gzip;q=0"], [100, "gzip"]]) {
    await ask(own, { body: `42["big",${size}]` });
    await ask(own, { "accept-encoding": encoding });
  }
  return found;
}

setTimeout(() => process.exit(1), 20_000).unref();
await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
const node = await results(`http://127.0.0.1:${http.address().port}`);
console.log(JSON.stringify({ node, other: await results(url) }));
process.exit(0);
