import { FreeholdError, watch } from "@freehold/client/core";
import { Code } from "@connectrpc/connect";

import { freehold, noticeError } from "./session.js";
import { Store } from "./store.js";

/** How pages learn that something has changed. */
export interface LiveState {
  /** By the stream of events, or by asking again where there is none. */
  readonly mode: "stream" | "poll";
  /** Nothing is heard of the server. */
  readonly lost: boolean;
}

export const live = new Store<LiveState>({ mode: "poll", lost: false });

interface Listener {
  readonly names: readonly string[];
  readonly changed: () => void;
}

const listeners = new Set<Listener>();

/** Calls back when a resource with one of these names has changed, or one below or above it. */
export function onChange(names: readonly string[], changed: () => void): () => void {
  const listener = { names, changed };
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Whether an event of a resource concerns whoever shows another one. */
export function concerns(shown: string, resource: string): boolean {
  return shown === "" || shown === resource || resource.startsWith(`${shown}/`) || shown.startsWith(`${resource}/`);
}

function tell(resource: string | undefined): void {
  for (const { names, changed } of [...listeners]) {
    if (resource === undefined || names.some((name) => concerns(name, resource))) changed();
  }
}

/** Says that the server was or was not reached by something else than the stream. */
export function heard(error: FreeholdError | undefined): void {
  const { mode } = live.get();
  const lost = error?.isUnavailable ?? false;
  if (mode === "poll" && live.get().lost !== lost) live.set({ mode, lost });
}

/** Follows the events of a tenant, or of the installation, until the signal is aborted. */
export async function followEvents(tenant: string, signal: AbortSignal): Promise<void> {
  const parent = tenant ? `tenants/${tenant}` : "";
  const onState = (state: "open" | "lost") => live.set({ mode: "stream", lost: state === "lost" });
  try {
    for await (const item of watch(freehold.transport, { parent, signal, onState })) tell(item.type === "event" ? item.event.resource : undefined);
  } catch (thrown) {
    const error = noticeError(thrown);
    // A server without the service, or a caller who may not: lists are asked for again instead.
    const quiet = error.code === Code.Unimplemented || error.code === Code.PermissionDenied || error.code === Code.NotFound;
    if (!quiet) console.warn("the stream of events ended", error.message);
  }
  live.set({ mode: "poll", lost: false });
}
