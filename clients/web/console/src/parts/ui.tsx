import type { FreeholdError } from "@freehold/client/core";
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import type { Query } from "../lib/query.js";
import { Link } from "../lib/router.jsx";
import { pathOf, personName } from "../lib/names.js";
import { Icon, Shape, type Tone } from "./icons.jsx";

/** A step on the way to this page. */
export interface Crumb {
  readonly text: string;
  readonly to: string;
}

let shownBefore = false;

interface PageProps {
  title: string;
  /** What kind of thing the title names. */
  kind?: string;
  crumbs?: readonly Crumb[];
  /** Beside the title. */
  badge?: ComponentChildren;
  actions?: ComponentChildren;
  children: ComponentChildren;
}

/** A page: its title is what is read first after a navigation, also by those who do not see it. */
export function Page({ title, kind, crumbs = [], badge, actions, children }: PageProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · Freehold`;
  }, [title]);
  useEffect(() => {
    if (shownBefore) heading.current?.focus({ preventScroll: true });
    shownBefore = true;
  }, []);
  return (
    <main id="content">
      <header class="page-head">
        {crumbs.length > 0 && (
          <nav aria-label="Where this is">
            <ol class="crumbs">
              {crumbs.map((crumb) => (
                <li key={crumb.to}>
                  <Link to={crumb.to}>{crumb.text}</Link>
                </li>
              ))}
            </ol>
          </nav>
        )}
        <div class="page-title">
          <h1 ref={heading} tabIndex={-1}>
            {kind && <span class="kind">{kind} </span>}
            {title}
          </h1>
          {badge}
          <div class="actions">{actions}</div>
        </div>
      </header>
      {children}
    </main>
  );
}

interface PanelProps {
  title: string;
  /** A number or a note beside the title. */
  note?: ComponentChildren;
  actions?: ComponentChildren;
  children: ComponentChildren;
  class?: string;
}

/** A part of a page with a heading of its own. */
export function Panel({ title, note, actions, children, class: name = "" }: PanelProps) {
  return (
    <section class={`panel ${name}`} aria-label={title}>
      <header class="panel-head">
        <h2>{title}</h2>
        {note !== undefined && <span class="note">{note}</span>}
        <div class="actions">{actions}</div>
      </header>
      {children}
    </section>
  );
}

/** A state: a word and a shape. */
export function Badge({ tone, children }: { tone: Tone; children: ComponentChildren }) {
  return (
    <span class={`badge ${tone}`}>
      <Shape tone={tone} />
      {children}
    </span>
  );
}

/** What failed: the server's own sentence, its reason, the id to report it by, and what to do. */
export function ErrorView({ error, retry }: { error: FreeholdError; retry?: () => void }) {
  return (
    <div class="error" role="alert">
      <Icon name="warn" />
      <div>
        <p>
          <Prose text={error.rawMessage} />
        </p>
        {error.violations.length > 0 && (
          <ul>
            {error.violations.map(({ field, description }) => (
              <li key={field}>
                <code>{field}</code> {description}
              </li>
            ))}
          </ul>
        )}
        <p class="fine">
          {error.reason && <span class="reason">{error.reason}</span>}
          {error.requestId && (
            <>
              {" request "}
              <Copy text={error.requestId} what="request id">
                {error.requestId.slice(0, 13)}
              </Copy>
            </>
          )}
        </p>
        {retry && (
          <button type="button" class="button small" onClick={retry}>
            Try again
          </button>
        )}
      </div>
    </div>
  );
}

/** Text of the server as a sentence, with what it puts between backticks as code. */
export function Prose({ text }: { text: string }) {
  // A name at the beginning stays as it is; it is not a word.
  const begun = /^[a-z]+[ ,;:]/.test(text) ? `${text[0]?.toUpperCase()}${text.slice(1)}` : text;
  const whole = text && (/[.!?…]$/.test(text) ? begun : `${begun}.`);
  return <>{whole.split("`").map((part, index) => (index % 2 === 1 ? <code key={index}>{part}</code> : part))}</>;
}

/** Where nothing is: what belongs here, and how to make the first one. */
export function Empty({ children, cli }: { children: ComponentChildren; cli?: string }) {
  return (
    <div class="empty">
      <p>{children}</p>
      {cli && <Cli line={cli} />}
    </div>
  );
}

/** A line for the command line, to copy. */
export function Cli({ line }: { line: string }) {
  return (
    <div class="cli">
      <code>{line}</code>
      <Copy text={line} what="command">
        {null}
      </Copy>
    </div>
  );
}

/** A short form of a text, which is copied as a whole. */
export function Copy({ text, what, children }: { text: string; what: string; children?: ComponentChildren }) {
  const [done, setDone] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    await navigator.clipboard.writeText(text).catch(() => undefined);
    setDone(true);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setDone(false), 1_500);
  };
  return (
    <button type="button" class="copy" title={`Copy ${what}: ${text}`} onClick={copy}>
      <span class="hidden">{done ? `copied ${what} ` : `copy ${what} `}</span>
      {children === undefined ? text : children}
      <Icon name={done ? "check" : "copy"} />
    </button>
  );
}

/** Rows in the shape of what is to come; only before there is anything. */
export function Skeleton({ rows = 4 }: { rows?: number }) {
  return (
    <div class="skeleton" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, index) => (
        <span key={index} />
      ))}
    </div>
  );
}

/** What a question came to: a skeleton, what failed, or what is there. Old content stays while it is asked again. */
export function Answer<T>({ query, rows, children }: { query: Query<T>; rows?: number; children: (data: T) => ComponentChildren }) {
  const { data, error, reload } = query;
  if (data === undefined) return error ? <ErrorView error={error} retry={reload} /> : <Skeleton {...(rows ? { rows } : {})} />;
  // What was there is still worth reading when the server is away; the line at the top says that it is.
  return (
    <>
      {error && !error.isUnavailable && <ErrorView error={error} retry={reload} />}
      {children(data)}
    </>
  );
}

/** A resource: a link where it has a page. */
export function Resource({ name, children }: { name: string; children?: ComponentChildren }) {
  const to = pathOf(name);
  const text = children ?? name;
  return to ? <Link to={to}>{text}</Link> : <span class="mono">{text}</span>;
}

/** Who did something. */
export function Person({ principal }: { principal: string }) {
  return (
    <span class="person" title={principal}>
      {personName(principal) || "server"}
    </span>
  );
}

/** A name and what it is. */
export function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Parts of a page, one at a time; each has an address. */
export function Tabs({ tabs, current, to }: { tabs: readonly (readonly [id: string, text: string])[]; current: string; to: (id: string) => string }) {
  return (
    <nav class="tabs" aria-label="Parts of this page">
      {tabs.map(([id, text]) => (
        <Link key={id} to={to(id)} current={id === current}>
          {text}
        </Link>
      ))}
    </nav>
  );
}
