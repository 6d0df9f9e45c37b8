/** Waits, or rejects with the signal's reason when it is aborted first. */
export function wait(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const aborted = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", aborted);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", aborted, { once: true });
  });
}

/** A time to wait after so many failures in a row: doubled each time, and drawn, so that clients do not come back all at once. */
export function backoff(failures: number, first: number, most: number, random: () => number = Math.random): number {
  const longest = Math.min(most, first * 2 ** Math.min(failures - 1, 16));
  return longest * (0.5 + random() / 2);
}
