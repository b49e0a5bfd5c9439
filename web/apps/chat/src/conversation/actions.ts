/** What messages let the user do; provided by the conversation. */
import type { ChatEntry, contract } from '@roomcast/react';
import { createContext, useContext } from 'react';

export type ReportReason = contract.ReportMessage['reason'];

export interface ChatActions {
  readonly retry: (key: string) => void;
  readonly discard: (key: string) => void;
  /** Sends another text in place of a message that failed. */
  readonly resend: (message: ChatEntry, content: string) => void;
  /** Failures of these are shown above the composer. */
  readonly stop: (turnId: string) => void;
  readonly regenerate: (turnId: string) => void;
  /** @returns Whether the new version is stored, without the removed files. */
  readonly edit: (messageId: string, content: string, removed: readonly string[]) => Promise<boolean>;
  /** The user of the page. */
  readonly me: string;
  /** The link of a file; null if it does not exist any more. */
  readonly fileUrl: (fileId: string) => Promise<string | null>;
  readonly react: (messageId: string, emoji: string, adds: boolean) => void;
  readonly pin: (messageId: string, adds: boolean) => void;
  readonly remove: (messageId: string) => void;
  /** Reports a message of another user to the moderators; null: there are none. @returns Whether it is reported. */
  readonly report: ((messageId: string, reason: ReportReason) => Promise<boolean>) | null;
  /** Makes the next message a reply to this one. */
  readonly reply: (message: ChatEntry) => void;
  /** Lists only the messages of a thread, by the id of its first. */
  readonly openThread: (messageId: string) => void;
  /**
   * Loads the chat up to a message or, given an id of any of its versions, finds it first; scrolls to it and focuses it.
   *
   * @returns Its place; null if there is none, and the failure is shown.
   */
  readonly show: (message: ChatEntry | string) => Promise<number | null>;
  /** Whether the user may write, react, edit and pin. */
  readonly writes: boolean;
  /** Whether the user may delete a message: an own one, or another's. */
  readonly deletes: (mine: boolean) => boolean;
  readonly versions: (messageId: string) => Promise<readonly ChatEntry[]>;
}

export const ChatActionsContext = createContext<ChatActions | null>(null);

/** The loaded messages, for the parts that show another message. */
export const LoadedMessages = createContext<readonly ChatEntry[]>([]);

export function useChatActions(): ChatActions {
  const actions = useContext(ChatActionsContext);
  if (actions === null) throw new Error('messages need a ChatActionsContext');
  return actions;
}
