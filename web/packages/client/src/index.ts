/**
 * Real-time chat client for Roomcast: every event once and in order, across reconnects.
 *
 * Independent of any framework; `@roomcast/react` adds hooks.
 */
export { RoomcastApi, type SearchFilter, type TokenSource } from './api.ts';
export { ChatList, type ChatListSnapshot, INITIAL_CHAT_LIST } from './chat/chat-list.ts';
export { type ClientOptions, createClient, websocket, WebSocketClient, websocketClient } from './client.ts';
export { type ConnectionSnapshot, INITIAL_CONNECTION } from './connection/connection.ts';
export {
  AckTimeoutError,
  ConnectionAbortedError,
  NetworkError,
  NotConnectedError,
  ProblemError,
  RefusedError,
  RoomcastError,
  TokenError,
} from './errors.ts';
export type { UploadOptions } from './files.ts';
export type { Attachment, Config, SearchHit, SearchPage } from './generated/contract.ts';
export type * as contract from './generated/contract.ts';
export { INITIAL_MEMBERS, type MembersSnapshot } from './chat/members.ts';
export { INITIAL_PRESENCE, type PresenceSnapshot } from './chat/participants.ts';
export type { Clock, GatewaySocket, GatewaySocketOptions, Runtime } from './platform/runtime.ts';
export type { ChatSession } from './chat/session.ts';
export { type ChatSnapshot, INITIAL_CHAT } from './chat/snapshot.ts';
export {
  type ChatEntry,
  type ChatMessage,
  type ChatSummary,
  ConnectionState,
  type LastMessage,
  type LoadStatus,
  type MessagePart,
  type NotifyLevel,
  type ToolPart,
  type WebSocketEmitEvents,
  type WebSocketEvents,
} from './types.ts';
export type { KeyValueStorage } from './chat/unsent-store.ts';
