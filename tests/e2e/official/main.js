/**
 * The official clients of the AI SDK and of AG-UI, unmodified, as an application uses them.
 *
 * `?dialect=sse|ws|agui&chat=<id>&api=<origin of the API>`. The state is JSON in #app; tests call the functions of `window.client`.
 */
import { HttpAgent } from '@ag-ui/client';
import { useChat } from '@ai-sdk/react';
import { DefaultChatTransport, WebSocketChatTransport } from 'ai';
import { createElement, useEffect } from 'react';
import { createRoot } from 'react-dom/client';

const parameters = new URLSearchParams(location.search);
const chatId = parameters.get('chat');
const api = parameters.get('api');
const element = document.getElementById('app');

/** The history of the chat, which the server keeps. */
async function loadHistory() {
  const response = await fetch(`${api}/api/chats/${chatId}/messages`);
  return (await response.json()).messages;
}

function stopTurn(turnId) {
  return fetch(`${api}/api/chats/${chatId}/turns/${turnId}/stop`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
}

function show(status, messages, error) {
  element.textContent = JSON.stringify({ status, messages, error });
}

function AiSdk({ transport, history }) {
  const chat = useChat({
    id: chatId,
    transport,
    resume: true,
    messages: history.map((message) => ({
      id: message.clientMsgId ?? message.id,
      role: message.role === 'AI' ? 'assistant' : 'user',
      parts: message.parts ?? [{ type: 'text', text: message.content }],
    })),
  });
  useEffect(() => {
    window.client = {
      send: (text) => void chat.sendMessage({ text }),
      edit: (messageId, text) => void chat.sendMessage({ text, messageId }),
      regenerate: () => void chat.regenerate(),
      resume: () => void chat.resumeStream(),
      stop: async () => {
        const turnId = chat.messages.at(-1).id;
        await chat.stop();
        // Over server-sent events `stop` only closes the response; the socket transport stops the answer.
        if (transport instanceof DefaultChatTransport) await stopTurn(turnId);
      },
    };
    const messages = chat.messages.map(({ id, role, parts }) => ({
      id,
      role,
      text: parts
        .filter((part) => part.type === 'text' && part.text !== '')
        .map((part) => part.text)
        .join('\n\n'),
    }));
    show(chat.status, messages, chat.error?.message);
  });
  return null;
}

function startAgUi(history) {
  const agent = new HttpAgent({
    url: `${api}/api/ai/agui`,
    threadId: chatId,
    initialMessages: history.map((message) => ({
      id: message.clientMsgId ?? message.id,
      role: message.role === 'AI' ? 'assistant' : 'user',
      content: message.content,
    })),
  });
  let turnId;
  let error;
  let outcome;
  const update = () => {
    const messages = agent.messages
      .filter(({ role }) => role === 'user' || role === 'assistant')
      .map(({ id, role, content }) => ({ id, role, text: content ?? '' }));
    show(agent.isRunning ? 'streaming' : (outcome ?? 'ready'), messages, error);
  };
  agent.subscribe({
    onRunStartedEvent: ({ event }) => {
      turnId = event.metadata.turnId;
    },
    onRunFinishedEvent: ({ event }) => {
      outcome = event.outcome?.type;
    },
    onMessagesChanged: update,
  });
  const run = async () => {
    error = outcome = undefined;
    try {
      await agent.runAgent();
    } catch (failure) {
      error = failure.message;
    }
    update();
  };
  window.client = {
    send: (text) => {
      agent.addMessage({ id: crypto.randomUUID(), role: 'user', content: text });
      void run();
    },
    resume: () => void run(),
    stop: () => stopTurn(turnId),
  };
  update();
  void run();
}

const history = await loadHistory();
const dialect = parameters.get('dialect');
if (dialect === 'agui') {
  startAgUi(history);
} else {
  const transport =
    dialect === 'sse'
      ? new DefaultChatTransport({ api: `${api}/api/ai/chat` })
      : new WebSocketChatTransport({ url: `${api}/api/ai/ws` });
  createRoot(document.createElement('div')).render(createElement(AiSdk, { transport, history }));
}
