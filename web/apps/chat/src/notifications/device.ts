/**
 * Notifications on this device: pushes through the service worker or, where no push service can be reached, those of the
 * open page.
 *
 * All tabs of a browser share one subscription, which belongs to the user that turned it on last.
 */
import { client } from '../client.ts';
import { BASE_PATH } from '../routing/base.ts';
import { createSetting } from '../storage/setting.ts';
import { shared, userKey } from '../storage/storage.ts';

/** `page`: notifications of the open page, since the browser reaches no push service. */
export type DeviceState = 'off' | 'push' | 'page';

const states: readonly unknown[] = ['off', 'push', 'page'] satisfies DeviceState[];
const isState = (value: unknown): value is DeviceState => states.includes(value);

/** What a user has chosen on this device. */
export function deviceSetting(userId: string) {
  return createSetting<DeviceState>(userKey(userId, 'notifications'), isState, () => 'off');
}

const OWNER_KEY = 'push-user';

/** Whether the browser can show notifications. */
export const supported = 'Notification' in window;

async function registration(): Promise<ServiceWorkerRegistration> {
  await navigator.serviceWorker.register(`${BASE_PATH}sw.js`, { scope: BASE_PATH });
  return navigator.serviceWorker.ready;
}

async function currentSubscription(): Promise<PushSubscription | null> {
  if (!('serviceWorker' in navigator)) return null;
  const found = await navigator.serviceWorker.getRegistration(BASE_PATH);
  return (await found?.pushManager.getSubscription()) ?? null;
}

function bytesOf(base64url: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64url.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

function hasKey(subscription: PushSubscription, key: Uint8Array): boolean {
  const known = new Uint8Array(subscription.options.applicationServerKey ?? new ArrayBuffer(0));
  return known.length === key.length && known.every((byte, index) => byte === key[index]);
}

/** Subscribes this browser for a user. Rejects if the browser reaches no push service, or the server refuses it. */
async function subscribe(userId: string, pushKey: string): Promise<void> {
  const key = bytesOf(pushKey);
  const { pushManager } = await registration();
  let found = await pushManager.getSubscription();
  // The server has another key than before.
  if (found !== null && !hasKey(found, key)) {
    await found.unsubscribe();
    found = null;
  }
  found ??= await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  await client.api.addPushDevice(found.toJSON(), userId);
  shared.set(OWNER_KEY, userId);
}

/**
 * Turns notifications on, after a click: browsers ask for the permission then.
 *
 * @param pushKey - The public key of the server; null: it sends no pushes.
 * @returns The new state; `off`: the user or the browser does not permit notifications.
 */
export async function turnOn(userId: string, pushKey: string | null): Promise<DeviceState> {
  if (!supported || (await Notification.requestPermission()) !== 'granted') return 'off';
  if (pushKey === null || !('serviceWorker' in navigator)) return 'page';
  try {
    await subscribe(userId, pushKey);
  } catch {
    // Without a push service, as in browsers that are cut off from it.
    return 'page';
  }
  return 'push';
}

/** Ends the pushes to this browser. Never rejects: without a connection, the push service tells the server later. */
export async function turnOff(userId: string): Promise<void> {
  if (shared.get(OWNER_KEY) !== userId) return;
  shared.remove(OWNER_KEY);
  try {
    const subscription = await currentSubscription();
    if (subscription === null) return;
    await Promise.allSettled([client.api.removePushDevice(subscription.endpoint, userId), subscription.unsubscribe()]);
  } catch {
    // The browser has no subscriptions.
  }
}

/** Renews the subscription at the start of the page: push services replace endpoints, and servers keys. */
export async function renew(userId: string, pushKey: string | null): Promise<void> {
  const setting = deviceSetting(userId);
  if (setting.get() !== 'push' || shared.get(OWNER_KEY) !== userId) return;
  if (!supported || Notification.permission !== 'granted') setting.set('off');
  else if (pushKey !== null) await subscribe(userId, pushKey).catch(() => undefined);
}
