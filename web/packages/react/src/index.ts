/** React hooks for Roomcast chats; re-exports `@roomcast/client`. */
export * from '@roomcast/client';
export { RoomcastProvider, type RoomcastProviderProps, useRoomcastClient } from './provider.ts';
export { useConnection, useConnectionState } from './use-connection.ts';
export { useChat, type UseChatOptions, type UseChatResult } from './use-chat.ts';
export { useChats, type UseChatsResult } from './use-chats.ts';
export { useMembers, type UseMembersResult } from './use-members.ts';
export { usePresence, useTyping } from './use-participants.ts';
export { useReads, type UseReadsResult } from './use-reads.ts';
export { useSearch, type UseSearchResult } from './use-search.ts';
export { useMessageListener } from './use-message-listener.ts';
export { useChatWebSocket, type UseChatWebSocketResult, useWebSocket, type UseWebSocketResult } from './guide-hooks.ts';
