import { Store } from "./store.js";

const KEPT = "freehold.theme";
const THEMES = ["system", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];

const kept = localStorage.getItem(KEPT);

/** The colours that were chosen; `system` follows the machine. */
export const theme = new Store<Theme>(THEMES.find((known) => known === kept) ?? "system");

/** Goes on to the next choice. */
export function nextTheme(): void {
  const next = THEMES[(THEMES.indexOf(theme.get()) + 1) % THEMES.length] ?? "system";
  localStorage.setItem(KEPT, next);
  theme.set(next);
  applyTheme();
}

/** Puts the choice into force. */
export function applyTheme(): void {
  const chosen = theme.get();
  if (chosen === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = chosen;
}
