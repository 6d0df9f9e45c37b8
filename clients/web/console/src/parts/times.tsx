import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { useEffect, useState } from "preact/hooks";

import { duration, exact, ms, relative } from "../lib/format.js";

/** The time, and a new rendering with each tick of it. */
export function useNow(every: number): number {
  const [now, set] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => set(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

/** When something was, relative to now; exactly when pointed at, and when copied with it. */
export function Ago({ time }: { time: Timestamp | number | undefined }) {
  useNow(10_000);
  const at = typeof time === "number" ? time : ms(time);
  if (at === undefined) return <span class="quiet">never</span>;
  return (
    <time dateTime={new Date(at).toISOString()} title={exact(at)}>
      {relative(at, Date.now())}
    </time>
  );
}

/** How long something took, or takes: ticks while there is no end. */
export function Elapsed({ from, to }: { from: number | undefined; to: number | undefined }) {
  if (from === undefined) return null;
  return to === undefined ? <Ticking from={from} /> : <span class="number">{duration(to - from)}</span>;
}

function Ticking({ from }: { from: number }) {
  const now = useNow(1_000);
  // Tenths would only flicker.
  const seconds = Math.max(0, Math.floor((now - from) / 1_000));
  return <span class="number">{seconds < 60 ? `${seconds} s` : duration(seconds * 1_000)}</span>;
}
