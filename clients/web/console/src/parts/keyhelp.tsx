import { useEffect, useRef } from "preact/hooks";

import { Icon } from "./icons.jsx";

const KEYS: [keys: string, does: string][] = [
  ["/", "search"],
  ["g h", "home"],
  ["g t", "the tenant"],
  ["g b", "blueprints"],
  ["g w", "webhooks"],
  ["g c", "connections"],
  ["g a", "audit"],
  ["g i", "the installation"],
  ["j  k", "down and up in lists"],
  ["Enter", "open what has the focus"],
  ["a", "approve the plan of a run"],
  ["r", "reject it"],
  ["f", "follow the log"],
  ["w", "wrap the log"],
  ["?", "show and hide this"],
];

/** The keys of the console, beside the page. */
export function KeyHelp({ close }: { close: () => void }) {
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    button.current?.focus();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <aside class="keyhelp" aria-label="Keys">
      <header>
        <h2>Keys</h2>
        <button ref={button} type="button" class="icon-button" aria-label="Hide the keys" onClick={close}>
          <Icon name="cross" />
        </button>
      </header>
      <dl>
        {KEYS.map(([keys, does]) => (
          <div key={keys}>
            <dt>
              {keys.split(" ").filter(Boolean).map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
    </aside>
  );
}
