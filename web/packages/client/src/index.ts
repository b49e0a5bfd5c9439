/**
 * Real-time chat client for Roomcast: every event once, in order, across reconnects.
 *
 * Needs no framework; `@roomcast/react` puts hooks on it.
 */
export { RoomcastApi, type TokenSource } from './api.ts';
export { ChatList, type ChatListSnapshot } from './chat-list.ts';
export { type ClientOptions, createClient, websocket, WebSocketClient, websocketClient } from './client.ts';
export type { ConnectionSnapshot } from './connection.ts';
export {
  AckTimeoutError,
  ConnectionAbortedError,
  NetworkError,
  NotConnectedError,
  ProblemError,
  RefusedError,
  RoomcastError,
} from './errors.ts';
export type { Config } from './generated/contract.ts';
export type * as contract from './generated/contract.ts';
export type { PresenceSnapshot } from './people.ts';
export type { Clock, GatewaySocket, GatewaySocketOptions, Runtime } from './runtime.ts';
export { type ChatSession, type ChatSnapshot } from './session.ts';
export {
  type ChatEntry,
  type ChatMessage,
  type ChatSummary,
  ConnectionState,
  type LoadStatus,
  type WebSocketEmitEvents,
  type WebSocketEvents,
} from './types.ts';
export type { KeyValueStorage } from './unsent-store.ts';
