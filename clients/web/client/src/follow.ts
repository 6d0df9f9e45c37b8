import { Code } from "@connectrpc/connect";

import { FreeholdError } from "./errors.js";
import { backoff, wait } from "./wait.js";

/** How often it is looked whether a stream has fallen silent, in milliseconds. */
const LOOK = 5_000;
/** A stream without any message for so long is dead; the server sends at least a sign of life every 15 s. */
export const SILENCE = 45_000;
/** The first wait before a stream is opened again, and the longest, in milliseconds. */
const FIRST_WAIT = 250;
const LONGEST_WAIT = 20_000;

/** How a stream is. */
export type StreamState = "open" | "lost";

/** What can be said about following a stream. */
export interface FollowOptions {
  /** Ends it. */
  signal?: AbortSignal;
  /** Milliseconds without any message after which it is opened again; 45 s unless it is set. */
  silence?: number;
  /** Told when the stream is open and when it is lost, with the error if there was one. */
  onState?: (state: StreamState, error?: FreeholdError) => void;
}

/** How one stream is followed. */
export interface Following<T> {
  /** Opens the stream where it goes on. */
  open(signal: AbortSignal): AsyncIterable<T>;
  /** Looks at a stream that ended without an error: whether that was all. */
  finished(): boolean;
  /** Looks at an error: whether it can be opened again after it. What `passes` says is always tried again. */
  recovers?(error: FreeholdError): boolean;
}

/**
 * Follows a stream through lost connections, servers that restart and machines that sleep. It ends when `finished` says so or the
 * signal is aborted, and throws what another try cannot mend.
 */
export async function* follow<T>(stream: Following<T>, options: FollowOptions = {}): AsyncGenerator<T, void, undefined> {
  const { signal, silence = SILENCE } = options;
  for (let failures = 0; !signal?.aborted; ) {
    const watchdog = new Watchdog(silence, signal);
    try {
      for await (const message of stream.open(watchdog.signal)) {
        if (failures > 0 || !watchdog.heard) options.onState?.("open");
        failures = 0;
        watchdog.pause();
        yield message;
        watchdog.resume();
      }
      if (stream.finished()) return;
      failures = Math.max(failures, 0) + 1;
      options.onState?.("lost");
    } catch (thrown) {
      if (signal?.aborted) return;
      const error = watchdog.fell ? new Silent(silence).error : FreeholdError.from(thrown);
      if (!passes(error) && !stream.recovers?.(error)) throw error;
      failures++;
      options.onState?.("lost", error);
    } finally {
      watchdog.stop();
    }
    await wait(backoff(failures, FIRST_WAIT, LONGEST_WAIT), signal).catch(() => undefined);
  }
}

/** Whether the same may well work a little later. */
export function passes(error: FreeholdError): boolean {
  switch (error.code) {
    case Code.Unavailable:
    case Code.DeadlineExceeded:
    case Code.ResourceExhausted:
    case Code.Aborted:
    case Code.Canceled:
    // What a connection leaves behind that breaks in the middle: no status, or bytes that end too early.
    case Code.Unknown:
    case Code.Internal:
    case Code.DataLoss:
      return true;
    default:
      return false;
  }
}

class Silent {
  readonly error: FreeholdError;

  constructor(silence: number) {
    this.error = FreeholdError.from(new TypeError(`nothing was heard for ${silence / 1000} s`));
  }
}

/**
 * Aborts a stream that nothing is heard of. It compares times instead of trusting one timer: those stand still while a machine
 * sleeps, and the first look after it wakes up sees how late it is.
 */
class Watchdog {
  /** Something was heard. */
  heard = false;
  /** It has aborted the stream. */
  fell = false;
  private readonly controller = new AbortController();
  private last = Date.now();
  private paused = false;
  private readonly timer: ReturnType<typeof setInterval>;
  private readonly look = () => {
    if (this.paused || Date.now() - this.last <= this.silence) return;
    this.fell = true;
    this.controller.abort();
  };
  private readonly cancel = () => this.controller.abort();

  constructor(
    private readonly silence: number,
    private readonly outer: AbortSignal | undefined,
  ) {
    this.timer = setInterval(this.look, Math.min(LOOK, silence / 3));
    outer?.addEventListener("abort", this.cancel, { once: true });
    // Pages that come back look at once.
    globalThis.addEventListener?.("online", this.look);
    globalThis.document?.addEventListener("visibilitychange", this.look);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Whoever reads has a message, and takes as long as they like. */
  pause(): void {
    this.heard = true;
    this.paused = true;
  }

  resume(): void {
    this.last = Date.now();
    this.paused = false;
  }

  stop(): void {
    clearInterval(this.timer);
    this.outer?.removeEventListener("abort", this.cancel);
    globalThis.removeEventListener?.("online", this.look);
    globalThis.document?.removeEventListener("visibilitychange", this.look);
    this.controller.abort();
  }
}
