/** The guide's unchanged client against a real `roomcast up`, over every choice of transports. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { ConnectionState, WebSocketClient, websocket, websocketClient } from "./src/index";
import { opened, use } from "./transport";

const ROOMCAST = resolve(__dirname, "../../.venv/bin/roomcast");
const START_LIMIT_MS = 20_000;

let apiUrl: string;
let gatewayUrl: string;
let server: ChildProcess;
let dataDirectory: string;

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}

beforeAll(async () => {
  const [apiPort, gatewayPort] = [await freePort(), await freePort()];
  dataDirectory = mkdtempSync(join(tmpdir(), "roomcast-guide-"));
  server = spawn(
    ROOMCAST,
    ["up", "--api-port", String(apiPort), "--gateway-port", String(gatewayPort), "--data", dataDirectory],
    { env: { ...process.env, ROOMCAST_RESPONDER: "none" }, stdio: "ignore" },
  );
  apiUrl = `http://localhost:${apiPort}`;
  gatewayUrl = `http://localhost:${gatewayPort}`;
  const limit = Date.now() + START_LIMIT_MS;
  while (!((await answers(`${apiUrl}/health`)) && (await answers(`${gatewayUrl}/health`)))) {
    if (server.exitCode !== null || Date.now() > limit) throw new Error("roomcast up did not start");
    await new Promise((next) => setTimeout(next, 50));
  }
}, START_LIMIT_MS + 5_000);

afterAll(async () => {
  if (server.exitCode === null) {
    server.kill("SIGTERM");
    await once(server, "exit");
  }
  rmSync(dataDirectory, { recursive: true, force: true });
});

afterEach(() => {
  websocketClient.disconnect();
});

async function post(chatId: string, content: string): Promise<void> {
  const response = await fetch(`${apiUrl}/api/chat/messages`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ chatId, role: "USER", content }),
  });
  expect(response.status).toBe(201);
}

const choices = [
  { name: "websocket only", options: { transports: ["websocket"] }, ends: "websocket" },
  { name: "polling only", options: { transports: ["polling"], upgrade: false }, ends: "polling" },
  { name: "polling, then upgrade", options: { transports: ["polling", "websocket"] }, ends: "websocket" },
  { name: "websocket, then polling (the guide's own)", options: {}, ends: "websocket" },
];

test.each(choices)("the guide's client connects, joins, pings and gets each message once: $name", async (choice) => {
  use({ url: gatewayUrl, options: choice.options });
  const client = new WebSocketClient();
  const received: string[] = [];
  const chatId = `guide-${choice.name.replaceAll(/[^a-z]/g, "-")}`;
  client.on("new-msg", (message) => received.push(message.content));

  await client.connect("ann");
  expect(client.connectionState).toBe(ConnectionState.CONNECTED);
  expect(client.currentUserId).toBe("ann");
  client.joinChat(chatId);
  // Events are handled in order of arrival; a join may still be waiting for the log when the pong comes, so the
  // message is sent until the first one comes back, as a person would see it.
  expect(await client.ping()).toBe("pong");
  await expect.poll(async () => (await post(chatId, "hello"), received.length), { timeout: 5_000 }).toBeGreaterThan(0);

  received.length = 0;
  for (let number = 0; number < 20; number += 1) await post(chatId, `message ${number}`);
  await expect.poll(() => received.at(-1), { timeout: 5_000 }).toBe("message 19");
  expect(received.filter((content) => content !== "hello")).toEqual(
    Array.from({ length: 20 }, (_, number) => `message ${number}`),
  );
  const socket = opened.at(-1);
  await expect.poll(() => socket?.io.engine.transport.name, { timeout: 5_000 }).toBe(choice.ends);

  client.disconnect();
  expect(client.isConnected).toBe(false);
});

test("the guide's singleton and its convenience object work", async () => {
  use({ url: gatewayUrl, options: {} });
  await websocket.connect("ben");
  expect(websocket.isConnected).toBe(true);
  expect(websocket.connectionState).toBe(ConnectionState.CONNECTED);
  expect(await websocket.ping()).toBe("pong");
  websocket.joinChat("guide-singleton");
  websocket.disconnect();
  expect(websocketClient.isConnected).toBe(false);
});
