/** Listener primitives: immutable snapshots in the shape of `useSyncExternalStore`, and typed named events. */

/** Holds an immutable value, and calls its listeners each time the value is replaced. */
export class Observable<T> {
  #value: T;
  readonly #listeners = new Set<() => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  get hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) callListener(listener);
  }

  subscribe(listener: () => void): () => void {
    // Wrapped, so that a function subscribed twice has two entries.
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }
}

/** Replaces properties of the value. If nothing differs, the object is kept and no listener is called. */
export function patch<T extends object>(observable: Observable<T>, change: Partial<T>): void {
  const before = observable.value;
  if (Object.entries(change).some(([name, value]) => before[name as keyof T] !== value)) {
    observable.set({ ...before, ...change });
  }
}

/** Named events with typed handlers. */
export class Emitter<Events extends { [Name in keyof Events]: (...args: never[]) => void }> {
  readonly #handlers = new Map<keyof Events, Set<{ call: (...args: never[]) => void }>>();

  on<Name extends keyof Events>(event: Name, handler: Events[Name]): () => void {
    const entry = { call: handler };
    const handlers = this.#handlers.get(event) ?? new Set();
    this.#handlers.set(event, handlers.add(entry));
    return () => void handlers.delete(entry);
  }

  emit<Name extends keyof Events>(event: Name, ...args: Parameters<Events[Name]>): void {
    for (const { call } of [...(this.#handlers.get(event) ?? [])]) callListener(() => call(...(args as never[])));
  }
}

/** Calls a listener; its exception is reported as uncaught and does not reach the client or other listeners. */
function callListener(listener: () => void): void {
  try {
    listener();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
