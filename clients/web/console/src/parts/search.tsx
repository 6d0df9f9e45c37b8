import { useEffect, useRef, useState } from "preact/hooks";

import { all, api } from "../lib/api.js";
import { lastPart, pathOf, shortName } from "../lib/names.js";
import { go } from "../lib/router.jsx";
import { Icon } from "./icons.jsx";

interface Found {
  readonly kind: string;
  readonly text: string;
  readonly to: string;
}

const SHOWN = 12;

/** Everything of a tenant that has a page, by its name. */
async function load(tenant: string): Promise<Found[]> {
  const parent = `tenants/${tenant}`;
  const [graph, blueprints, projects, webhooks, connections] = await Promise.all([
    api.deployments.getDependencyGraph({ parent }),
    all(async (pageToken) => {
      const page = await api.blueprints.listBlueprints({ parent, pageSize: 500, pageToken });
      return { items: page.blueprints, nextPageToken: page.nextPageToken };
    }),
    all(async (pageToken) => {
      const page = await api.projects.listProjects({ parent, pageSize: 500, pageToken });
      return { items: page.projects, nextPageToken: page.nextPageToken };
    }),
    // Not everybody may list these; the rest is found all the same.
    api.webhooks.listWebhookEndpoints({ parent, pageSize: 500 }).then((page) => page.webhookEndpoints, () => []),
    api.connections.listConnections({ parent, pageSize: 500 }).then((page) => page.connections, () => []),
  ]);
  const deployments = (graph.dependencyGraph?.nodes ?? []).map((node) => node.deployment);
  const environments = [...new Set(deployments.map((name) => name.split("/").slice(0, 6).join("/")))];
  const of = (kind: string, names: string[], text: (name: string) => string): Found[] =>
    names.map((name) => ({ kind, text: text(name), to: pathOf(name) ?? "/" }));
  return [
    ...of("deployment", deployments, shortName),
    ...of("environment", environments, shortName),
    ...of("project", projects.map((project) => project.name), lastPart),
    ...of("blueprint", blueprints.map((blueprint) => blueprint.name), lastPart),
    ...of("webhook", webhooks.map((endpoint) => endpoint.name), lastPart),
    ...of("connection", connections.map((connection) => connection.name), lastPart),
  ];
}

/** Finds a place by a part of its name, and goes there. */
export function Search({ tenant }: { tenant: string }) {
  const [text, setText] = useState("");
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(0);
  const [known, setKnown] = useState<Found[]>([]);
  const input = useRef<HTMLInputElement>(null);

  useEffect(() => setKnown([]), [tenant]);
  const wanted = text.trim().toLowerCase().split(/[\s/]+/).filter(Boolean);
  const found = open ? known.filter((item) => wanted.every((word) => item.text.toLowerCase().includes(word))).slice(0, SHOWN) : [];
  const chosen = found[Math.min(at, found.length - 1)];
  const leave = () => {
    setOpen(false);
    setText("");
    input.current?.blur();
  };
  const choose = (item: Found | undefined) => {
    if (!item) return;
    leave();
    go(item.to);
  };
  return (
    <search class="search">
      <Icon name="search" />
      <input
        ref={input}
        id="search"
        type="text"
        role="combobox"
        aria-label="Search deployments, environments, projects and blueprints"
        aria-expanded={open && found.length > 0}
        aria-controls="search-results"
        aria-autocomplete="list"
        aria-activedescendant={chosen ? `found-${found.indexOf(chosen)}` : undefined}
        placeholder={tenant ? `Search in ${tenant}` : "Choose a tenant to search in it"}
        autocomplete="off"
        spellcheck={false}
        disabled={!tenant}
        value={text}
        onFocus={() => {
          setOpen(true);
          if (tenant) load(tenant).then(setKnown, () => undefined);
        }}
        onBlur={() => setOpen(false)}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={(event) => {
          const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
          if (step) setAt((Math.min(at, found.length - 1) + step + found.length) % Math.max(found.length, 1));
          else if (event.key === "Enter") choose(chosen);
          else if (event.key === "Escape") leave();
          else return;
          event.preventDefault();
          event.stopPropagation();
        }}
      />
      <kbd aria-hidden="true">/</kbd>
      <ul id="search-results" role="listbox" aria-label="What was found" hidden={!open || found.length === 0}>
        {found.map((item, index) => (
          <li
            key={item.kind + item.text}
            id={`found-${index}`}
            role="option"
            aria-selected={item === chosen}
            // Before the field loses its focus, which would take the list away.
            onMouseDown={(event) => {
              event.preventDefault();
              choose(item);
            }}
          >
            <span>{item.text}</span>
            <span class="kind">{item.kind}</span>
          </li>
        ))}
      </ul>
      {open && tenant && text !== "" && known.length > 0 && found.length === 0 && (
        <p class="nothing" role="status">
          Nothing here is called “{text}”.
        </p>
      )}
    </search>
  );
}
