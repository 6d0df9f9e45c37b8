import type { FreeholdError } from "@freehold/client/core";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";

import { heard, live, onChange } from "./live.js";
import { noticeError } from "./session.js";
import { Store, useStore } from "./store.js";

/** How often something is asked for again without a stream of events, and with one, where it only makes sure. */
const POLL = 4_000;
const MAKE_SURE = 60_000;
/** Changes that come together make one question, and a stream of them not more than one in so many milliseconds. */
const GATHER = 120;
const APART = 1_000;

/** What a question came to. */
export interface Query<T> {
  /** The last good answer, also while another one is on its way or has failed. */
  readonly data: T | undefined;
  readonly error: FreeholdError | undefined;
  /** There is no answer yet. */
  readonly loading: boolean;
  readonly reload: () => void;
}

/** Answers, so that going back shows at once what was there. */
const answers = new Map<string, unknown>();
const KEPT = 200;
/** Questions on their way; the page shows a thin line meanwhile. */
export const asking = new Store(0);

/** Forgets all answers, for the next person. */
export function forgetAnswers(): void {
  answers.clear();
}

/**
 * Asks, and asks again whenever one of the named resources changes.
 *
 * @param key says what is asked; another key is another question, and none asks nothing
 */
export function useQuery<T>(key: string | undefined, ask: (signal: AbortSignal) => Promise<T>, names: readonly string[] = []): Query<T> {
  const [error, setError] = useState<{ key: string; error: FreeholdError }>();
  const [, render] = useState({});
  const latest = useRef(ask);
  latest.current = ask;
  const again = useRef<() => void>(() => {});
  const { mode } = useStore(live);

  useEffect(() => {
    if (key === undefined) return;
    const stop = new AbortController();
    let [running, repeat] = [false, false];
    let timer: ReturnType<typeof setTimeout> | undefined;
    let asked = 0;
    const run = async () => {
      if (running) {
        repeat = true;
        return;
      }
      running = true;
      asked = Date.now();
      asking.set(asking.get() + 1);
      try {
        const answer = await latest.current(stop.signal);
        if (stop.signal.aborted) return;
        answers.delete(key);
        answers.set(key, answer);
        const [oldest] = answers.keys();
        if (answers.size > KEPT && oldest !== undefined) answers.delete(oldest);
        heard(undefined);
        setError(undefined);
        render({});
      } catch (thrown) {
        if (stop.signal.aborted) return;
        const failed = noticeError(thrown);
        heard(failed);
        setError({ key, error: failed });
      } finally {
        running = false;
        asking.set(asking.get() - 1);
        if (repeat && !stop.signal.aborted) {
          repeat = false;
          void run();
        }
      }
    };
    const soon = () => {
      timer ??= setTimeout(
        () => {
          timer = undefined;
          void run();
        },
        Math.max(GATHER, asked + APART - Date.now()),
      );
    };
    again.current = () => void run();
    void run();
    const forget = onChange(names, soon);
    const regularly = setInterval(() => {
      if (!document.hidden) void run();
    }, mode === "stream" ? MAKE_SURE : POLL);
    const visible = () => {
      if (!document.hidden) soon();
    };
    document.addEventListener("visibilitychange", visible);
    return () => {
      stop.abort();
      clearTimeout(timer);
      clearInterval(regularly);
      forget();
      document.removeEventListener("visibilitychange", visible);
    };
  }, [key, names.join(), mode]);

  const reload = useCallback(() => again.current(), []);
  const data = key === undefined ? undefined : (answers.get(key) as T | undefined);
  const failed = error && error.key === key ? error.error : undefined;
  return { data, error: failed, loading: key !== undefined && data === undefined && !failed, reload };
}
