import { LogLevel, type LogLine } from "@freehold/client/gen/freehold/deployments/v1/log_pb";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import { count, exact, ms } from "../lib/format.js";
import { useKeys } from "../lib/keys.js";
import type { LogLines } from "../lib/loglines.js";
import { go, usePlace } from "../lib/router.jsx";
import { Empty } from "./ui.jsx";

/** Height of a row, as in the style. */
const ROW = 20;
/** What stands before the text: number and time. */
const GUTTER = 128;

/**
 * A log: only the lines in sight are elements.
 *
 * @param version changes when lines were added
 */
export function LogView({ lines, version, open }: { lines: LogLines; version: number; open: boolean }) {
  const { fragment } = usePlace();
  const linked = /^L(\d+)$/.exec(fragment)?.[1];
  const target = linked ? Number(linked) - 1 : undefined;
  const box = useRef<HTMLDivElement>(null);
  const ruler = useRef<HTMLSpanElement>(null);
  const [top, setTop] = useState(0);
  const [size, setSize] = useState({ width: 0, height: 0 });
  const [wraps, setWraps] = useState(true);
  const [follows, setFollows] = useState(target === undefined);
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  useKeys({ w: () => setWraps((on) => !on), f: () => setFollows((on) => !on) });

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setSize({ width: element.clientWidth, height: element.clientHeight }));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  // In a font of fixed width, how many characters fit is a division.
  const character = (ruler.current?.getBoundingClientRect().width ?? 0) / 100 || 7.2;
  lines.wrap(wraps && size.width > 0 ? Math.max(20, Math.floor((size.width - GUTTER - 24) / character)) : 0);
  const sight = lines.window(top / ROW, Math.max(size.height, 400) / ROW);

  const found = useMemo(() => lines.search(text), [text, version]);
  const hits = useMemo(() => new Set(found), [found]);
  const show = (index: number) => {
    setFollows(false);
    box.current?.scrollTo({ top: Math.max(0, lines.rowOf(index) * ROW - size.height / 3) });
  };
  useEffect(() => {
    if (follows) box.current?.scrollTo({ top: box.current.scrollHeight });
  }, [follows, version, sight.total, size.height]);
  const jumped = useRef(false);
  useEffect(() => {
    if (target === undefined || jumped.current || lines.lines.length <= target || size.height === 0) return;
    jumped.current = true;
    show(target);
  }, [version, target, size.height]);

  const step = (by: number) => {
    if (found.length === 0) return;
    const next = (at + by + found.length) % found.length;
    setAt(next);
    show(found[next] ?? 0);
  };
  return (
    <div class="log">
      <div class="log-bar">
        <input
          type="text"
          aria-label="Search in the log"
          placeholder="Search in the log"
          value={text}
          onInput={(event) => {
            setText(event.currentTarget.value);
            setAt(0);
            const first = lines.search(event.currentTarget.value)[0];
            if (first !== undefined) show(first);
          }}
          onKeyDown={(event) => {
            if (event.key === "Enter") step(event.shiftKey ? -1 : 1);
          }}
        />
        <span class="quiet number" role="status">
          {text && (found.length > 0 ? `${Math.min(at, found.length - 1) + 1} of ${found.length}` : "not found")}
        </span>
        <span class="number quiet">{count(lines.lines.length, "line")}</span>
        <label class="check">
          <input type="checkbox" checked={wraps} onChange={(event) => setWraps(event.currentTarget.checked)} /> wrap
        </label>
        <label class="check">
          <input type="checkbox" checked={follows} onChange={(event) => setFollows(event.currentTarget.checked)} /> follow
        </label>
      </div>
      <div
        ref={box}
        class={wraps ? "log-lines wraps" : "log-lines"}
        role="log"
        aria-label="Log"
        aria-live="off"
        tabIndex={0}
        onScroll={(event) => {
          const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
          // Whoever scrolls up wants to read; whoever comes back to the end wants to follow.
          if (scrollTop < top - 2) setFollows(false);
          else if (scrollHeight - scrollTop - clientHeight < 4) setFollows(open);
          setTop(scrollTop);
        }}
      >
        <span ref={ruler} class="ruler" aria-hidden="true">
          {"0".repeat(100)}
        </span>
        {lines.lines.length === 0 && <Empty>{open ? "No line has been written yet." : "This run has written no log."}</Empty>}
        <div class="log-space" style={{ height: `${sight.total * ROW}px` }}>
          <ol style={{ transform: `translateY(${sight.above * ROW}px)` }} start={sight.first + 1}>
            {lines.lines.slice(sight.first, sight.end).map((line, offset) => {
              const index = sight.first + offset;
              return <Line key={index} line={line} index={index} rows={lines.rowsOf(index)} hit={hits.has(index)} target={index === target} />;
            })}
          </ol>
        </div>
      </div>
    </div>
  );
}

interface LineProps {
  line: LogLine;
  index: number;
  rows: number;
  hit: boolean;
  target: boolean;
}

const LEVELS: Partial<Record<LogLevel, string>> = { [LogLevel.WARN]: "warn", [LogLevel.ERROR]: "error", [LogLevel.DEBUG]: "debug" };

function Line({ line, index, rows, hit, target }: LineProps) {
  const time = ms(line.time);
  const level = LEVELS[line.level];
  const here = `#L${index + 1}`;
  return (
    <li class={`${level ?? ""} ${hit ? "hit" : ""} ${target ? "target" : ""}`} style={{ height: `${rows * ROW}px` }}>
      <a
        href={here}
        class="line-number"
        tabIndex={-1}
        aria-label={`Line ${index + 1}`}
        onClick={(event) => {
          event.preventDefault();
          go(location.pathname + location.search + here, "replace");
        }}
      >
        {index + 1}
      </a>
      <time title={time === undefined ? undefined : exact(time)}>{time === undefined ? "" : new Date(time).toTimeString().slice(0, 8)}</time>
      <span class="line-text">
        {level && level !== "debug" && <span class="hidden">{level}: </span>}
        {line.address && <span class="address">{line.address}: </span>}
        {line.text}
      </span>
    </li>
  );
}
