import { ChangeAction, PlanBinding, type ResourceChange, type RunPlan } from "@freehold/client/gen/freehold/deployments/v1/run_pb";

import { count, shown } from "../lib/format.js";
import { type AttributeRow, type Group, type Side, counts, grouped, reversibility, rows } from "../lib/plan.js";
import { Icon } from "./icons.jsx";
import { Prose } from "./ui.jsx";

const BINDING: Partial<Record<PlanBinding, string>> = {
  [PlanBinding.EXACT]: "The apply does exactly this.",
  [PlanBinding.REVALIDATED]: "The apply looks again, and stops if this is not what it finds.",
  [PlanBinding.INTENT_ONLY]: "The engine cannot promise this: the apply does what it finds to be needed then.",
};

const SIGN: Partial<Record<ChangeAction, string>> = {
  [ChangeAction.CREATE]: "+",
  [ChangeAction.UPDATE]: "~",
  [ChangeAction.REPLACE]: "±",
  [ChangeAction.DELETE]: "−",
};

/** The name of an action as a class of style. */
const look = (action: ChangeAction): string => (ChangeAction[action] ?? "").toLowerCase();

/** What a look for drift has found: resources that are not as they were made. */
export function DriftFound({ plan }: { plan: RunPlan }) {
  const found = plan.changes.filter((change) => change.drifted);
  if (found.length === 0) return <p>All is as it was made.</p>;
  return (
    <div class="plan">
      {found.map((change) => (
        <ChangeView key={change.address} change={change} heads={["As it was made", "As it is"]} />
      ))}
    </div>
  );
}

/** What a run would do: counts, then resources by what happens to them. */
export function PlanView({ plan }: { plan: RunPlan }) {
  const groups = grouped(plan.changes);
  const outputs = plan.outputs.filter((output) => output.action !== ChangeAction.NOOP);
  return (
    <div class="plan">
      <ul class="plan-counts" aria-label="The plan in numbers">
        {counts(plan.summary).map(({ word, number, action }) => (
          <li key={word} class={number > 0 ? look(action) : "none"}>
            <strong>{number}</strong> {word}
          </li>
        ))}
      </ul>
      {BINDING[plan.binding] && <p class="fine">{BINDING[plan.binding]}</p>}
      {groups.length === 0 && outputs.length === 0 && <p>Nothing has to be done: all is as it was declared.</p>}
      {groups.map((group) => (
        <GroupView key={group.action} group={group} />
      ))}
      {outputs.length > 0 && (
        <section class="plan-group" aria-label="Outputs">
          <h3>{count(outputs.length, "output")} will change</h3>
          <AttributeTable
            rows={outputs.map((output) => ({
              path: output.name,
              before: side(output.before, output.sensitive && output.action !== ChangeAction.CREATE, false),
              after: side(output.after, output.sensitive && output.action !== ChangeAction.DELETE, output.unknownAfter),
              changed: true,
              forcesReplacement: false,
            }))}
          />
        </section>
      )}
    </div>
  );
}

function side(json: string, hidden: boolean, unknown: boolean): Side {
  if (unknown) return { kind: "unknown" };
  if (hidden) return { kind: "hidden" };
  return json === "" ? { kind: "none" } : { kind: "value", text: shown(json) };
}

function GroupView({ group }: { group: Group }) {
  const changes = group.changes.map((change) => <ChangeView key={change.address} change={change} />);
  const name = `plan-group ${look(group.action)}`;
  if (group.folds === "never")
    return (
      <section class={name} aria-label={group.title}>
        <h3>{group.title}</h3>
        {changes}
      </section>
    );
  return (
    <details class={name} open={group.folds === "open"}>
      <summary>
        <h3>{group.title}</h3>
        <Icon name="down" />
      </summary>
      {changes}
    </details>
  );
}

/** What the two columns of attributes are called. */
type Heads = readonly [before: string, after: string];

function ChangeView({ change, heads }: { change: ResourceChange; heads?: Heads }) {
  const { changed, unchanged } = rows(change);
  // What has happened already is nothing that could be undone.
  const back = heads ? undefined : reversibility(change);
  return (
    <article class={`change ${look(change.action)}`} aria-label={change.address}>
      <header>
        <span class="sign" aria-hidden="true">
          {SIGN[change.action] ?? ""}
        </span>
        <h4>{change.address}</h4>
        {change.drifted && !heads && <span class="tag">drifted</span>}
        {back && <span class={back.grave ? "tag grave" : "tag"}>{back.text}</span>}
      </header>
      {change.reason && (
        <p class="reason-text">
          <Prose text={change.reason} />
        </p>
      )}
      {changed.length > 0 && <AttributeTable rows={changed} {...(heads ? { heads } : {})} />}
      {unchanged.length > 0 && change.action !== ChangeAction.NOOP && (
        <details class="unchanged">
          <summary>{count(unchanged.length, "attribute")} unchanged</summary>
          <AttributeTable rows={unchanged} />
        </details>
      )}
    </article>
  );
}

function AttributeTable({ rows, heads = ["Before", "After"] }: { rows: readonly AttributeRow[]; heads?: Heads }) {
  // What is made has nothing before it, and what goes has nothing after; a column of dashes says nothing.
  const [before, after] = [rows.some((row) => row.before.kind !== "none"), rows.some((row) => row.after.kind !== "none")];
  return (
    <table class="attributes">
      <thead class={before && after ? "" : "hidden"}>
        <tr>
          <th scope="col">Attribute</th>
          {before && <th scope="col">{heads[0]}</th>}
          {after && <th scope="col">{heads[1]}</th>}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.path}>
            <th scope="row">
              {row.path}
              {row.forcesReplacement && <span class="forces"> forces replacement</span>}
            </th>
            {before && (
              <td class={row.changed && after ? "old" : ""}>
                <SideView side={row.before} />
              </td>
            )}
            {after && (
              <td class={row.changed && before ? "new" : ""}>
                <SideView side={row.after} />
              </td>
            )}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function SideView({ side }: { side: Side }) {
  switch (side.kind) {
    case "none":
      return <span class="quiet">not set</span>;
    case "hidden":
      return (
        <span class="quiet">
          <Icon name="lock" /> hidden
        </span>
      );
    case "unknown":
      return <span class="quiet">known after apply</span>;
    case "value":
      return <span class="value">{side.text}</span>;
  }
}
