import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";

import { followEvents, live } from "../lib/live.js";
import { moveInList, useKeys } from "../lib/keys.js";
import { personName } from "../lib/names.js";
import { asking } from "../lib/query.js";
import { Link, go, usePlace } from "../lib/router.jsx";
import { type Session, endSession } from "../lib/session.js";
import { useStore } from "../lib/store.js";
import { currentTenant } from "../lib/tenant.js";
import { nextTheme, theme } from "../lib/theme.js";
import { Icon, type IconName } from "./icons.jsx";
import { KeyHelp } from "./keyhelp.jsx";
import { Search } from "./search.jsx";

interface Item {
  readonly icon: IconName;
  readonly text: string;
  readonly to: string;
  readonly key: string;
  readonly current: boolean;
}

/** What is around every page: places, search, who is signed in, and whether the server is heard. */
export function Shell({ session, children }: { session: Session; children: ComponentChildren }) {
  const { path } = usePlace();
  const tenant = useStore(currentTenant) || session.tenant;
  const [help, setHelp] = useState(false);
  const items = places(tenant, session.tenant === "", path);

  useEffect(() => {
    const stop = new AbortController();
    void followEvents(session.tenant, stop.signal);
    return () => stop.abort();
  }, [session.tenant]);

  useKeys({
    ...Object.fromEntries(items.map((item) => [`g ${item.key}`, () => go(item.to)])),
    j: () => moveInList(1),
    k: () => moveInList(-1),
    "/": () => document.querySelector<HTMLInputElement>("#search")?.focus(),
    "?": () => setHelp((shown) => !shown),
    Escape: () => setHelp(false),
  });

  return (
    <div class="shell">
      <a class="skip" href="#content">
        Skip to content
      </a>
      <Progress />
      <aside class="side">
        <Link to="/" class="brand" label="Freehold, home">
          <svg viewBox="0 0 32 32" aria-hidden="true">
            <rect width="32" height="32" rx="7" />
            <path d="M9 24V8h14v4H13.500v3.600H21v3.800h-7.500V24z" />
          </svg>
          Freehold
        </Link>
        <nav aria-label="Places">
          <ul>
            {items.map((item) => (
              <li key={item.to}>
                <Link to={item.to} current={item.current}>
                  <Icon name={item.icon} />
                  <span>{item.text}</span>
                  <kbd aria-hidden="true">g {item.key}</kbd>
                </Link>
              </li>
            ))}
          </ul>
        </nav>
        <div class="me">
          <span class="person" title={session.principal}>
            {personName(session.principal)}
          </span>
          <Controls onHelp={() => setHelp((shown) => !shown)} />
        </div>
      </aside>
      <div class="top">
        <Search tenant={tenant} />
        <Connection />
      </div>
      {help && <KeyHelp close={() => setHelp(false)} />}
      {children}
    </div>
  );
}

function places(tenant: string, platform: boolean, path: string): Item[] {
  const below = (to: string) => path === to || path.startsWith(`${to}/`);
  const items: Item[] = [{ icon: "home", text: "Home", to: "/", key: "h", current: path === "/" }];
  if (tenant) {
    const home = `/t/${tenant}`;
    const blueprints = `${home}/blueprints`;
    const audit = `${home}/audit`;
    const deploy = `${home}/deploy`;
    const webhooks = `${home}/webhooks`;
    const newWebhook = `${home}/create-webhook`;
    const connections = `${home}/connections`;
    const others = [blueprints, audit, deploy, webhooks, newWebhook, connections];
    items.push(
      { icon: "tenant", text: tenant, to: home, key: "t", current: below(home) && !others.some(below) },
      { icon: "blueprint", text: "Blueprints", to: blueprints, key: "b", current: below(blueprints) || below(deploy) },
      { icon: "webhook", text: "Webhooks", to: webhooks, key: "w", current: below(webhooks) || below(newWebhook) },
      { icon: "connection", text: "Connections", to: connections, key: "c", current: below(connections) },
      { icon: "audit", text: "Audit", to: audit, key: "a", current: below(audit) },
    );
  }
  if (platform) {
    if (!tenant) items.push({ icon: "audit", text: "Audit", to: "/audit", key: "a", current: path === "/audit" });
    items.push({ icon: "admin", text: "Installation", to: "/admin", key: "i", current: path === "/admin" || (Boolean(tenant) && path === "/audit") });
  }
  return items;
}

function Controls({ onHelp }: { onHelp: () => void }) {
  const chosen = useStore(theme);
  return (
    <div class="controls">
      <button type="button" class="icon-button" title={`Theme: ${chosen}`} aria-label={`Theme: ${chosen}; switch`} onClick={nextTheme}>
        <Icon name="theme" />
      </button>
      <button type="button" class="icon-button" title="Keys (?)" aria-label="Show the keys" onClick={onHelp}>
        <Icon name="keys" />
      </button>
      <button type="button" class="icon-button" title="Sign out" aria-label="Sign out" onClick={() => endSession("nobody")}>
        <Icon name="leave" />
      </button>
    </div>
  );
}

/** A thin line while something is asked for and takes a moment. */
function Progress() {
  const number = useStore(asking);
  const [shown, setShown] = useState(false);
  useEffect(() => {
    if (number === 0) return setShown(false);
    const timer = setTimeout(() => setShown(true), 250);
    return () => clearTimeout(timer);
  }, [number > 0]);
  return <div class={shown ? "progress on" : "progress"} aria-hidden="true" />;
}

/** One quiet line when the server is not heard. */
function Connection() {
  const { lost } = useStore(live);
  const [shown, setShown] = useState(false);
  useEffect(() => {
    if (!lost) return setShown(false);
    // What heals within a moment need not be told.
    const timer = setTimeout(() => setShown(true), 2_000);
    return () => clearTimeout(timer);
  }, [lost]);
  return (
    <p class="connection" role="status">
      {shown && (
        <>
          <Icon name="warn" /> The server is not heard. What you see may be old; it goes on by itself.
        </>
      )}
    </p>
  );
}
