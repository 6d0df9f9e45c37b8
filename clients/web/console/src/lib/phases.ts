import { DriftState } from "@freehold/client/gen/freehold/deployments/v1/drift_pb";
import { type Run, RunKind, RunOutcome, RunPhase } from "@freehold/client/gen/freehold/deployments/v1/run_pb";

import { ms } from "./format.js";

/** How far one part of a run is. */
export type StageState = "done" | "now" | "waits" | "failed" | "next" | "skipped";

/** One part of the line of phases. */
export interface Stage {
  readonly name: "plan" | "check" | "approve" | "apply" | "verify";
  readonly state: StageState;
  /** Where it began and ended, in milliseconds since 1970, as far as the run tells. */
  readonly from: number | undefined;
  readonly to: number | undefined;
}

const STAGES: [name: Stage["name"], phases: RunPhase[]][] = [
  ["plan", [RunPhase.PENDING, RunPhase.QUEUED, RunPhase.PREPARING, RunPhase.PLANNING]],
  ["check", [RunPhase.CHECKING]],
  ["approve", [RunPhase.AWAITING_APPROVAL]],
  ["apply", [RunPhase.APPLY_QUEUED, RunPhase.APPLYING, RunPhase.RECOVERING]],
  ["verify", [RunPhase.VERIFYING]],
];

/** The parts of a run. `planned` is when its plan was made. */
export function stages(run: Run, planned: number | undefined): Stage[] {
  const began = run.steps.map((step) => ms(step.startTime)).filter((time) => time !== undefined);
  const ended = run.steps.map((step) => ms(step.endTime)).filter((time) => time !== undefined);
  const created = ms(run.createTime);
  const done = run.phase === RunPhase.DONE;
  const applied = began.length > 0;
  const decided = run.approvals.length > 0 ? Math.max(...run.approvals.map((approval) => ms(approval.createTime) ?? 0)) : undefined;
  const applyFrom = applied ? Math.min(...began) : undefined;
  const applyTo = ended.length > 0 && run.phase !== RunPhase.APPLYING ? Math.max(...ended) : undefined;
  const times: Record<Stage["name"], [number | undefined, number | undefined]> = {
    plan: [created, planned],
    check: [undefined, undefined],
    approve: [planned, decided ?? applyFrom],
    apply: [applyFrom ?? (run.phase === RunPhase.APPLY_QUEUED ? decided : undefined), applyTo],
    verify: [applyTo, ms(run.endTime)],
  };
  const present = STAGES.findIndex(([, phases]) => phases.includes(run.phase));
  // Where a run has ended follows from how far it came.
  const last = !done ? present : applied ? 4 : planned === undefined ? 0 : run.approvals.length > 0 || decisionEnds(run) ? 2 : 1;
  const well = run.outcome === RunOutcome.SUCCEEDED || run.outcome === RunOutcome.NO_CHANGES;
  const plansOnly = run.kind === RunKind.PLAN || run.kind === RunKind.DRIFT;
  return STAGES.map(([name], index) => {
    let state: StageState;
    if (done && (well || index < last)) state = index <= last ? "done" : "skipped";
    else if (done) state = index > last ? "skipped" : "failed";
    else if (index < present) state = "done";
    else if (index > present) state = plansOnly && index > 1 ? "skipped" : "next";
    else state = run.waitingOn ? "waits" : "now";
    // A failed apply has no verification that could have failed.
    if (done && !well && applied && index === 4) state = "skipped";
    if (done && !well && applied && index === 3) state = "failed";
    const [from, to] = state === "next" || state === "skipped" ? [undefined, undefined] : times[name];
    return { name, state, from, to: state === "now" || state === "waits" ? undefined : to };
  });
}

/** Ends that come while somebody is waited for. */
function decisionEnds(run: Run): boolean {
  const ends = [RunOutcome.REJECTED, RunOutcome.EXPIRED, RunOutcome.CANCELLED, RunOutcome.SUPERSEDED, RunOutcome.STALE];
  return ends.includes(run.outcome);
}

/** How a run is, in a word, and what kind of news that is. */
export function verdict(run: Run): { word: string; tone: "good" | "bad" | "wait" | "work" | "idle" } {
  if (run.phase !== RunPhase.DONE) {
    if (run.phase === RunPhase.AWAITING_APPROVAL) return { word: run.approvalRequired ? "awaiting approval" : "ready to apply", tone: "wait" };
    const word = (RunPhase[run.phase] ?? "unknown").toLowerCase().replaceAll("_", " ");
    return { word, tone: run.waitingOn ? "wait" : "work" };
  }
  // A look that went well may have found something that is not.
  if (run.kind === RunKind.DRIFT && run.driftCheck?.state === DriftState.DRIFTED) return { word: "found drift", tone: "wait" };
  if (run.kind === RunKind.DRIFT && run.driftCheck?.state === DriftState.CLEAN) return { word: "found no drift", tone: "good" };
  switch (run.outcome) {
    case RunOutcome.SUCCEEDED:
      return { word: "succeeded", tone: "good" };
    case RunOutcome.NO_CHANGES:
      return { word: "no changes", tone: "good" };
    case RunOutcome.FAILED:
    case RunOutcome.LOST:
    case RunOutcome.QUOTA_BLOCKED:
      return { word: (RunOutcome[run.outcome] ?? "").toLowerCase().replaceAll("_", " "), tone: "bad" };
    default:
      return { word: (RunOutcome[run.outcome] ?? "ended").toLowerCase().replaceAll("_", " "), tone: "idle" };
  }
}

/** What a run is, of a deployment that is named, or that is known where it is read. */
export function sentence(run: Run, deployment = ""): string {
  const name = deployment && ` ${deployment}`;
  const of = (text: string, link: string) => (name ? `${text} ${link}${name}` : text);
  switch (run.kind) {
    case RunKind.PLAN:
      return `Plan${name}`;
    case RunKind.APPLY:
      return `Apply${name}`;
    case RunKind.DESTROY:
      return `Destroy${name}`;
    case RunKind.ROLLBACK:
      return `Roll back${name} to revision ${run.targetRevision}`;
    case RunKind.DRIFT:
      return of("Look for drift", "in");
    case RunKind.REPAIR:
      return of(`Write state ${run.targetStateSerial} again`, "for");
    default:
      return of("Run", "of");
  }
}
