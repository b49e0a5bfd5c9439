/* The service worker of the page: shows pushes, and opens their chats. It caches nothing.
   The payload is PushPayload of src/roomcast/contract/push.py. */
/* global self */
const BASE = self.registration.scope;

/** The address of a chat; see src/routing/route.ts. */
const urlOf = (chatId) => `${BASE}c/${encodeURIComponent(chatId)}`;

/** The open pages. Those that were open before this worker are not controlled by it. */
async function openPages() {
  const pages = await self.clients.matchAll({ type: 'window', includeUncontrolled: true });
  return pages.filter(({ url }) => url.startsWith(BASE));
}

async function show({ chatId, title, direct, userId, text }) {
  const pages = await openPages();
  // The user is looking at the chat.
  if (pages.some((page) => page.focused && page.url.split('#')[0] === urlOf(chatId))) return;
  const author = userId ?? 'AI';
  await self.registration.showNotification(direct ? author : (title ?? `#${chatId}`), {
    body: direct ? text : `${author}: ${text}`,
    // A later message of the chat replaces an earlier one, and alerts again.
    tag: chatId,
    renotify: true,
    data: { chatId },
  });
}

async function open(chatId) {
  const pages = await openPages();
  const page = pages.find(({ url }) => url.split('#')[0] === urlOf(chatId)) ?? pages[0];
  if (page === undefined) {
    await self.clients.openWindow(urlOf(chatId));
    return;
  }
  page.postMessage({ type: 'open-chat', chatId });
  await page.focus();
}

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('push', (event) => event.waitUntil(show(event.data.json())));
self.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data.chatId));
});
