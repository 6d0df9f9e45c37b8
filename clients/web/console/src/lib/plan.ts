import { type AttributeChange, ChangeAction, type PlanSummary, type ResourceChange, Reversibility } from "@freehold/client/gen/freehold/deployments/v1/run_pb";

import { count } from "./format.js";

/** Resources to which a plan does the same. */
export interface Group {
  readonly action: ChangeAction;
  /** For example `Replace 2 resources`. */
  readonly title: string;
  /** Whether it begins folded; what destroys something never does, and cannot be. */
  readonly folds: "never" | "open" | "closed";
  readonly changes: readonly ResourceChange[];
}

/** What cannot be taken back comes first. */
const ORDER: [action: ChangeAction, verb: string, folds: Group["folds"]][] = [
  [ChangeAction.DELETE, "Destroy", "never"],
  [ChangeAction.REPLACE, "Replace", "never"],
  [ChangeAction.UPDATE, "Change", "open"],
  [ChangeAction.CREATE, "Create", "open"],
  [ChangeAction.NOOP, "Leave alone", "closed"],
  [ChangeAction.UNSPECIFIED, "Do something to", "never"],
];

const KNOWN = new Set(ORDER.map(([action]) => action));

/** Puts the changes of a plan into groups, those to be looked at hardest first. */
export function grouped(changes: readonly ResourceChange[]): Group[] {
  return ORDER.map(([action, verb, folds]) => {
    // What a newer server calls something else is not hidden.
    const is = ({ action: own }: ResourceChange) => own === action || (action === ChangeAction.UNSPECIFIED && !KNOWN.has(own));
    const own = changes.filter(is);
    return { action, title: `${verb} ${count(own.length, "resource")}`, folds, changes: own };
  }).filter((group) => group.changes.length > 0);
}

/** Counts of a plan, in the order in which they are said; those of zero too, since zero is what an approver wants to read. */
export function counts(summary: PlanSummary | undefined): { word: string; number: number; action: ChangeAction }[] {
  const { create = 0, update = 0, replace = 0, delete: destroy = 0 } = summary ?? {};
  return [
    { word: "to add", number: create, action: ChangeAction.CREATE },
    { word: "to change", number: update, action: ChangeAction.UPDATE },
    { word: "to replace", number: replace, action: ChangeAction.REPLACE },
    { word: "to destroy", number: destroy, action: ChangeAction.DELETE },
  ];
}

/** What is on one side of an attribute. */
export type Side =
  | { readonly kind: "none" }
  | { readonly kind: "hidden" }
  | { readonly kind: "unknown" }
  | { readonly kind: "value"; readonly text: string };

/** An attribute as two columns. */
export interface AttributeRow {
  readonly path: string;
  readonly before: Side;
  readonly after: Side;
  readonly changed: boolean;
  readonly forcesReplacement: boolean;
}

/** The attributes of a change, split into those that differ and those that do not. */
export function rows(change: ResourceChange): { changed: AttributeRow[]; unchanged: AttributeRow[] } {
  const all = change.attributes.map((attribute) => row(attribute, change.action));
  return { changed: all.filter((row) => row.changed), unchanged: all.filter((row) => !row.changed) };
}

function row(attribute: AttributeChange, action: ChangeAction): AttributeRow {
  const hasBefore = action !== ChangeAction.CREATE;
  const hasAfter = action !== ChangeAction.DELETE;
  const { before, after, sensitive, unknownAfter } = attribute;
  return {
    path: attribute.path,
    before: side(hasBefore, before, sensitive, false),
    after: side(hasAfter, after, sensitive, unknownAfter),
    // Whether hidden values differ cannot be seen from the outside, so they are shown among those that may.
    changed: !hasBefore || !hasAfter || unknownAfter || before !== after || (sensitive && action !== ChangeAction.NOOP),
    forcesReplacement: attribute.forcesReplacement,
  };
}

function side(there: boolean, json: string, sensitive: boolean, unknown: boolean): Side {
  if (!there) return { kind: "none" };
  if (unknown) return { kind: "unknown" };
  if (sensitive) return { kind: "hidden" };
  if (json === "") return { kind: "none" };
  return { kind: "value", text: readable(json) };
}

/** JSON on several lines, text of several lines as it is; other text keeps its quotes, so that `"1"` and `1` differ. */
function readable(json: string): string {
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value === "string" && value.includes("\n")) return value;
    return typeof value === "object" ? JSON.stringify(value, null, 2) : json;
  } catch {
    return json;
  }
}

/** Whether a change can be undone, in words. */
export function reversibility(change: ResourceChange): { text: string; grave: boolean } | undefined {
  switch (change.reversibility) {
    case Reversibility.REVERSIBLE:
      return { text: "can be rolled back", grave: false };
    case Reversibility.REVERSIBLE_WITH_DATA_LOSS:
      return { text: "data is lost", grave: true };
    case Reversibility.IRREVERSIBLE:
      return { text: "cannot be undone", grave: true };
    case Reversibility.UNKNOWN:
      return { text: "may not be undone", grave: false };
    default:
      return undefined;
  }
}

/** What a plan takes away, in its own words, for whoever is about to approve it; undefined when it takes nothing away. */
export function danger(changes: readonly ResourceChange[]): string | undefined {
  const said: string[] = [];
  for (const [action, verb] of [[ChangeAction.DELETE, "destroys"], [ChangeAction.REPLACE, "replaces"]] as const) {
    const own = changes.filter((change) => change.action === action);
    if (own.length === 0) continue;
    const kinds = new Map<string, number>();
    for (const change of own) kinds.set(change.type, (kinds.get(change.type) ?? 0) + 1);
    const list = [...kinds].map(([kind, number]) => `${number} ${kind || "resource"}`).join(", ");
    said.push(`${verb} ${list}`);
  }
  const final = changes.filter((change) => change.reversibility === Reversibility.IRREVERSIBLE).length;
  const lossy = changes.filter((change) => change.reversibility === Reversibility.REVERSIBLE_WITH_DATA_LOSS).length;
  if (final > 0) said.push(`${count(final, "change")} cannot be undone`);
  if (lossy > 0) said.push(`${count(lossy, "change")} ${lossy === 1 ? "loses" : "lose"} data`);
  if (said.length === 0) return undefined;
  const text = said.join("; ");
  return `${text[0]?.toUpperCase()}${text.slice(1)}.`;
}

/** Whether whoever approves has to type the name: only where something is lost for good. */
export function needsName(changes: readonly ResourceChange[]): boolean {
  return changes.some((change) => {
    const takes = change.action === ChangeAction.DELETE || change.action === ChangeAction.REPLACE;
    return takes && (change.reversibility === Reversibility.IRREVERSIBLE || change.reversibility === Reversibility.REVERSIBLE_WITH_DATA_LOSS);
  });
}
