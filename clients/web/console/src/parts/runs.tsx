import { type Run, RunKind } from "@freehold/client/gen/freehold/deployments/v1/run_pb";

import { getRun } from "../lib/api.js";
import { ms } from "../lib/format.js";
import { shortName } from "../lib/names.js";
import { counts } from "../lib/plan.js";
import { sentence, verdict } from "../lib/phases.js";
import { useQuery } from "../lib/query.js";
import { Link } from "../lib/router.jsx";
import { pathOf } from "../lib/names.js";
import { Ago, Elapsed } from "./times.jsx";
import { Badge, Person, Prose } from "./ui.jsx";

/** How a run is. */
export function RunState({ run }: { run: Run }) {
  const { word, tone } = verdict(run);
  return <Badge tone={tone}>{word}</Badge>;
}

/** What a plan comes to, in short: `+4 ~1 ±0 −0`, and in words for those who listen. */
export function PlanCounts({ run }: { run: Run }) {
  if (run.kind === RunKind.DRIFT) return null;
  if (!run.planSummary) return <span class="quiet">no plan</span>;
  const all = counts(run.planSummary);
  if (all.every(({ number }) => number === 0)) return <span class="quiet">no changes</span>;
  const signs: Record<string, string> = { "to add": "+", "to change": "~", "to replace": "±", "to destroy": "−" };
  return (
    <span class="counts" title={all.map(({ number, word }) => `${number} ${word}`).join(", ")}>
      {all
        .filter(({ number }) => number > 0)
        .map(({ number, word }) => (
          <span key={word} class={`count n-${word.replace("to ", "")}`}>
            <span aria-hidden="true">
              {signs[word]}
              {number}
            </span>
            <span class="hidden">
              {number} {word}{" "}
            </span>
          </span>
        ))}
    </span>
  );
}

/** Runs, one a row. */
export function RunList({ runs, named = true }: { runs: readonly Run[]; named?: boolean }) {
  return (
    <ul class="list">
      {runs.map((run) => (
        <li key={run.name}>
          <Link to={pathOf(run.name) ?? "/"} class="row run-row" row>
            <span class="what">
              <strong>
                {sentence(run, named ? shortName(run.name) : undefined)}
              </strong>
              <span class="quiet">{run.message || <Prose text={run.error?.message || run.driftCheck?.reason || ""} />}</span>
            </span>
            <PlanCounts run={run} />
            <RunState run={run} />
            <span class="who">
              <Person principal={run.createPrincipal} />
            </span>
            <span class="when">
              <Ago time={run.createTime} />
              <span class="quiet">
                {run.endTime && <Elapsed from={ms(run.createTime)} to={ms(run.endTime)} />}
              </span>
            </span>
          </Link>
        </li>
      ))}
    </ul>
  );
}

/** How the run of a name is; nothing for no name. */
export function RunStateOf({ name }: { name: string }) {
  const { data } = useQuery(name || undefined, (signal) => getRun(name, signal), [name]);
  if (!name) return <span class="quiet">none</span>;
  return data ? <RunState run={data} /> : <span class="quiet">…</span>;
}
