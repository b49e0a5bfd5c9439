/** A set of listeners, in the shape that `useSyncExternalStore` subscribes to. */
export class Listeners {
  readonly #listeners = new Set<() => void>();
  readonly #attach: (notify: () => void) => () => void;
  #detach: (() => void) | null = null;

  /** @param attach - Called with `notify` for the first listener; the function that it returns is called after the last. */
  constructor(attach: (notify: () => void) => () => void = () => () => undefined) {
    this.#attach = attach;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#detach ??= this.#attach(this.notify);
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#detach?.();
      this.#detach = null;
    };
  };

  readonly notify = (): void => {
    for (const listener of this.#listeners) listener();
  };
}

/** Returns a `subscribe` function for events of a browser object. */
export function onEvents(target: EventTarget, ...names: string[]): (listener: (event: Event) => void) => () => void {
  return (listener) => {
    for (const name of names) target.addEventListener(name, listener);
    return () => {
      for (const name of names) target.removeEventListener(name, listener);
    };
  };
}
