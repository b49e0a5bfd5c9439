/** The guide's unchanged client against a real `roomcast up`, with every choice of transports. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { RealServer } from "../packages/client/test/support/real-server.ts";
import { ConnectionState, WebSocketClient, websocket, websocketClient } from "./src/index";
import { opened, use } from "./transport";

let server: RealServer;

beforeAll(async () => {
  server = await RealServer.start();
}, 40_000);

afterAll(() => server.stop());

afterEach(() => {
  websocketClient.disconnect();
});

async function post(chatId: string, content: string): Promise<void> {
  const response = await fetch(`${server.apiUrl}/api/chat/messages`, {
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
  { name: "websocket, then polling (the guide's choice)", options: {}, ends: "websocket" },
];

test.each(choices)("the guide's client connects, joins, pings and receives each message once: $name", async (choice) => {
  use({ url: server.gatewayUrl, options: choice.options });
  const client = new WebSocketClient();
  const received: string[] = [];
  const chatId = `guide-${choice.name.replaceAll(/[^a-z]/g, "-")}`;
  client.on("new-msg", (message) => received.push(message.content));

  await client.connect("ann");
  expect(client.connectionState).toBe(ConnectionState.CONNECTED);
  expect(client.currentUserId).toBe("ann");
  client.joinChat(chatId);
  // The join may still be in progress when the pong arrives, and the guide's client gets no ack for it: messages are
  // posted until the first one arrives.
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

test("the guide's singleton and convenience object work", async () => {
  use({ url: server.gatewayUrl, options: {} });
  await websocket.connect("ben");
  expect(websocket.isConnected).toBe(true);
  expect(websocket.connectionState).toBe(ConnectionState.CONNECTED);
  expect(await websocket.ping()).toBe("pong");
  websocket.joinChat("guide-singleton");
  websocket.disconnect();
  expect(websocketClient.isConnected).toBe(false);
});
