import { useEffect, useRef, useState } from "preact/hooks";

import { type Query, useQuery } from "./query.js";
import { noticeError } from "./session.js";

/** A page of a list. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly nextPageToken: string;
}

/** A list that grows as its end comes into sight. */
export interface Paged<T> {
  /** The first page, which is asked for again whenever something has changed. */
  readonly first: Query<Page<T>>;
  /** All that is here, each once. */
  readonly items: readonly T[];
  /** There are more. */
  readonly more: boolean;
  /** What stands at the end of the list. */
  readonly end: { current: HTMLDivElement | null };
}

/**
 * Asks for a list page by page.
 *
 * @param key says what is listed; another key is another list
 */
export function usePaged<T extends { readonly name: string }>(key: string, ask: (pageToken: string) => Promise<Page<T>>, names: readonly string[]): Paged<T> {
  const first = useQuery(key, () => ask(""), names);
  const [older, setOlder] = useState<{ key: string; items: readonly T[]; next: string }>();
  const loaded = older?.key === key ? older : undefined;
  const next = loaded?.next ?? first.data?.nextPageToken ?? "";
  const end = useRef<HTMLDivElement>(null);
  const busy = useRef(false);

  const seen = new Set<string>();
  const items = [...(first.data?.items ?? []), ...(loaded?.items ?? [])].filter(({ name }) => !seen.has(name) && seen.add(name));

  const latest = useRef(async () => {});
  latest.current = async () => {
    if (busy.current || next === "") return;
    busy.current = true;
    try {
      const page = await ask(next);
      setOlder((before) => ({ key, items: [...(before?.key === key ? before.items : []), ...page.items], next: page.nextPageToken }));
    } catch (thrown) {
      noticeError(thrown);
    } finally {
      busy.current = false;
    }
  };
  useEffect(() => {
    if (!end.current) return;
    const observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && void latest.current(), { rootMargin: "600px" });
    observer.observe(end.current);
    return () => observer.disconnect();
  }, [next, items.length]);
  return { first, items, more: next !== "", end };
}
