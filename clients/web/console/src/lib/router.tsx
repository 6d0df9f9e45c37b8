import type { ComponentChildren } from "preact";

import { Store, useStore } from "./store.js";

/** Where this page is. */
export interface Place {
  readonly path: string;
  readonly query: URLSearchParams;
  /** Without `#`. */
  readonly fragment: string;
}

const read = (): Place => ({
  path: location.pathname,
  query: new URLSearchParams(location.search),
  fragment: location.hash.slice(1),
});

export const place = new Store<Place>(read());
addEventListener("popstate", () => place.set(read()));
addEventListener("hashchange", () => place.set(read()));

/** Goes to another address of the console. */
export function go(to: string, how: "push" | "replace" = "push"): void {
  if (how === "push") history.pushState(null, "", to);
  else history.replaceState(null, "", to);
  const samePage = place.get().path === location.pathname;
  place.set(read());
  if (how === "push" && !samePage) scrollTo(0, 0);
}

/** Changes the query of the present address, where filters live. Empty values go. */
export function setQuery(changes: Record<string, string | undefined>): void {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const text = query.toString();
  go(location.pathname + (text && `?${text}`) + location.hash, "replace");
}

/** The present place. */
export const usePlace = (): Place => useStore(place);

interface LinkProps {
  to: string;
  children: ComponentChildren;
  class?: string;
  title?: string;
  /** A row of a list, which `j` and `k` move among. */
  row?: boolean;
  current?: boolean;
  label?: string;
}

/** A link inside the console. It is a real one: it opens in another tab, and can be copied. */
export function Link({ to, children, class: name, title, row, current, label }: LinkProps) {
  return (
    <a
      href={to}
      class={name}
      title={title}
      data-row={row ? "" : undefined}
      aria-current={current ? "page" : undefined}
      aria-label={label}
      onClick={(event) => {
        if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        go(to);
      }}
    >
      {children}
    </a>
  );
}

/** The parameters of a path, when it fits a pattern such as `/t/:tenant/p/:project`. */
export function match(pattern: string, path: string): Record<string, string> | undefined {
  const [wanted, given] = [pattern, path].map((text) => text.split("/").filter(Boolean)) as [string[], string[]];
  if (wanted.length !== given.length) return undefined;
  const found: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const value = given[index] ?? "";
    if (part.startsWith(":")) {
      try {
        found[part.slice(1)] = decodeURIComponent(value);
      } catch {
        return undefined;
      }
    } else if (part !== value) return undefined;
  }
  return found;
}
