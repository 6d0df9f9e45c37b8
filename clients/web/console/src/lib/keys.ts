import { useEffect, useRef } from "preact/hooks";

/** What a key does on the present page. `g h` is two keys one after the other. */
export type Keys = Record<string, () => void>;

const layers: { current: Keys }[] = [];
/** How long the first of two keys is remembered, in milliseconds. */
const PAIR = 1_200;
let first: { key: string; time: number } | undefined;

/** Whether somebody is writing, so that letters are letters. */
function writes(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (writes(event.target) && event.key !== "Escape") return;
  const now = Date.now();
  const pair = first && now - first.time < PAIR ? `${first.key} ${event.key}` : undefined;
  first = undefined;
  for (const name of [pair, event.key]) {
    if (name === undefined) continue;
    // The newest layer is that of the innermost part of the page.
    const layer = layers.findLast((layer) => name in layer.current);
    if (layer) {
      event.preventDefault();
      layer.current[name]?.();
      return;
    }
  }
  if (layers.some((layer) => Object.keys(layer.current).some((name) => name.startsWith(`${event.key} `)))) first = { key: event.key, time: now };
});

/** These keys do this while the caller is shown. */
export function useKeys(keys: Keys): void {
  const layer = useRef(keys);
  layer.current = keys;
  useEffect(() => {
    layers.push(layer);
    return () => {
      layers.splice(layers.indexOf(layer), 1);
    };
  }, []);
}

/** Moves the focus among the rows of the page's lists. */
export function moveInList(step: 1 | -1): void {
  const rows = [...document.querySelectorAll<HTMLElement>("main [data-row]")];
  if (rows.length === 0) return;
  const at = rows.findIndex((row) => row === document.activeElement || row.contains(document.activeElement));
  const next = at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + step, 0), rows.length - 1);
  rows[next]?.focus();
  rows[next]?.scrollIntoView({ block: "nearest" });
}
