/** Immutable snapshots with listeners, in the shape that `useSyncExternalStore` takes; and named events. */

/** Holds one immutable value; listeners hear of each replacement. */
export class Observable<T> {
  #value: T;
  readonly #listeners = new Set<() => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  get observed(): boolean {
    return this.#listeners.size > 0;
  }

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) isolate(listener);
  }

  subscribe(listener: () => void): () => void {
    // Wrapped: the same function subscribed twice must be removed twice.
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
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
    for (const { call } of [...(this.#handlers.get(event) ?? [])]) isolate(() => call(...(args as never[])));
  }
}

/** Runs a listener so that its failure is reported like any uncaught error, and harms neither us nor the others. */
function isolate(listener: () => void): void {
  try {
    listener();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
