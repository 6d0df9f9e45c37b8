import { useEffect, useState } from "preact/hooks";

/** A value that tells when it changes. */
export class Store<T> {
  private readonly listeners = new Set<() => void>();

  constructor(private value: T) {}

  get(): T {
    return this.value;
  }

  set(value: T): void {
    if (Object.is(value, this.value)) return;
    this.value = value;
    for (const listener of [...this.listeners]) listener();
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/** The value, and a new rendering with each change of it. */
export function useStore<T>(store: Store<T>): T {
  const [, render] = useState({});
  const value = store.get();
  useEffect(() => {
    // It may have changed between rendering and this.
    if (!Object.is(store.get(), value)) render({});
    return store.subscribe(() => render({}));
  }, [store]);
  return value;
}
