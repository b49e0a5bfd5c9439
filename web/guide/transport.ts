/**
 * What the guide's unchanged client imports as `socket.io-client` under test: the official client, sent to the test's
 * gateway (the guide hard-codes port 3001) and told which transports to use.
 */
import { io as officialIo, type ManagerOptions, type Socket, type SocketOptions } from "official-socket.io-client";

export type { Socket };

export interface TransportUnderTest {
  url: string;
  options: Partial<ManagerOptions & SocketOptions>;
}

let underTest: TransportUnderTest | undefined;
export const opened: Socket[] = [];

export function use(next: TransportUnderTest): void {
  underTest = next;
}

export function io(url: string, options: Partial<ManagerOptions & SocketOptions>): Socket {
  if (url !== "http://localhost:3001") throw new Error(`the guide's client asked for ${url}`);
  if (!underTest) throw new Error("call use() first");
  const socket = officialIo(underTest.url, { ...options, ...underTest.options });
  opened.push(socket);
  return socket;
}
