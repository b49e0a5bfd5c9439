/**
 * Replaces `socket.io-client` for the guide's client under test: the official client, connected to the test's gateway
 * (the guide hard-codes port 3001) with the transports under test.
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
  if (url !== "http://localhost:3001") throw new Error(`unexpected URL from the guide's client: ${url}`);
  if (!underTest) throw new Error("call use() first");
  const socket = officialIo(underTest.url, { ...options, ...underTest.options });
  opened.push(socket);
  return socket;
}
