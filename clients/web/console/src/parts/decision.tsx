import type { FreeholdError } from "@freehold/client/core";
import type { Run, RunPlan } from "@freehold/client/gen/freehold/deployments/v1/run_pb";
import { useEffect, useRef, useState } from "preact/hooks";

import { api } from "../lib/api.js";
import { shortDigest } from "../lib/format.js";
import { useKeys } from "../lib/keys.js";
import { parts } from "../lib/names.js";
import { danger, needsName } from "../lib/plan.js";
import { noticeError, signedIn } from "../lib/session.js";
import { Icon } from "./icons.jsx";
import { Copy, ErrorView, Prose } from "./ui.jsx";

type Choice = "approve" | "reject";

/** The decision on a plan. It names the digest of the plan that is on this page, so that no other one can be meant. */
export function Decision({ run, plan, decided }: { run: Run; plan: RunPlan; decided: () => void }) {
  const [choice, setChoice] = useState<Choice>();
  const [digest, setDigest] = useState("");
  const open = (wanted: Choice) => {
    setChoice(wanted);
    setDigest(plan.digest);
  };
  const demand = run.approvalDemand;
  const own = signedIn.get().session?.principal === run.createPrincipal;
  const needs = run.approvalRequired && demand;
  // Whoever turns back is where they were.
  const opener = useRef<HTMLButtonElement>(null);
  const before = useRef<Choice>(undefined);
  useEffect(() => {
    if (before.current && !choice) opener.current?.focus();
    before.current = choice;
  }, [choice]);
  const may = !(needs && own && !demand.allowSelfApproval);
  useKeys({ a: () => may && open("approve"), r: () => open("reject"), Escape: () => setChoice(undefined) });
  return (
    <section class="decision" aria-label="Decision">
      <div class="decision-head">
        <p>
          {needs && demand.fault ? (
            <>This plan cannot be approved: <Prose text={demand.fault} /></>
          ) : needs ? (
            <>
              <strong>
                {demand.satisfied} of {demand.approvals} approvals
              </strong>
              {demand.rule && <> by the rule {demand.rule}</>}
              {demand.from.length > 0 && <>, from {demand.from.join(", ")}</>}
              {!demand.allowSelfApproval && (own ? <>. You have started it, so somebody else has to approve it</> : <>; its author does not count</>)}
            </>
          ) : (
            <>No approval is needed. Applying it is for somebody to decide.</>
          )}
        </p>
        {choice === undefined && (
          <div class="actions">
            <button type="button" class="button" onClick={() => open("reject")}>
              <Icon name="cross" /> Reject… <kbd aria-hidden="true">r</kbd>
            </button>
            {may && (
              <button ref={opener} type="button" class="button primary" onClick={() => open("approve")}>
                <Icon name="check" /> {run.approvalRequired ? "Approve…" : "Apply…"} <kbd aria-hidden="true">a</kbd>
              </button>
            )}
          </div>
        )}
      </div>
      {choice !== undefined && digest !== plan.digest && (
        <p class="notice" role="alert">
          The plan has changed while you were looking. Read it again.{" "}
          <button type="button" class="button small" onClick={() => setChoice(undefined)}>
            Start over
          </button>
        </p>
      )}
      {choice !== undefined && digest === plan.digest && (
        <Confirm key={choice} run={run} plan={plan} choice={choice} cancel={() => setChoice(undefined)} decided={decided} />
      )}
    </section>
  );
}

interface ConfirmProps {
  run: Run;
  plan: RunPlan;
  choice: Choice;
  cancel: () => void;
  decided: () => void;
}

function Confirm({ run, plan, choice, cancel, decided }: ConfirmProps) {
  const [comment, setComment] = useState("");
  const [typed, setTyped] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<FreeholdError>();
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => first.current?.focus(), []);

  const approves = choice === "approve";
  const said = approves ? danger(plan.changes) : undefined;
  const name = parts(run.name)["deployments"] ?? "";
  const types = approves && needsName(plan.changes);
  const why = run.approvalDemand?.commentRequired ?? false;
  const ready = !busy && (!types || typed === name) && (!why || !approves || comment.trim() !== "");
  const submit = async (event: Event) => {
    event.preventDefault();
    if (!ready) return;
    setBusy(true);
    setError(undefined);
    const about = { name: run.name, planDigest: plan.digest };
    try {
      if (!approves) await api.runs.rejectRun({ ...about, comment });
      else if (run.approvalRequired) await api.runs.approveRun({ ...about, comment, reviewDigest: run.reviewDigest });
      else await api.runs.applyRun(about);
      decided();
      cancel();
    } catch (thrown) {
      setError(noticeError(thrown));
      setBusy(false);
    }
  };
  const label = !approves ? "Reject this plan" : run.approvalRequired ? "Approve this plan" : "Apply this plan";
  return (
    <form class={`confirm ${choice}`} onSubmit={submit}>
      {said && (
        <p class="danger">
          <Icon name="warn" /> {said}
        </p>
      )}
      <p class="fine">
        {approves ? "This decides on" : "This ends the run of"} the plan{" "}
        <Copy text={plan.digest} what="digest of the plan">
          {shortDigest(plan.digest)}
        </Copy>
        {approves && "; what is applied is exactly what is shown below, or nothing."}
      </p>
      {types && (
        <label class="stacked">
          <span>
            Type <code>{name}</code> to confirm
          </span>
          <input ref={first} type="text" autocomplete="off" spellcheck={false} value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
        </label>
      )}
      {(run.approvalRequired || !approves) && (
        <label class="stacked">
          <span>{why && approves ? "Why (required)" : "Why (optional)"}</span>
          <input ref={types ? null : first} type="text" maxLength={500} value={comment} onInput={(event) => setComment(event.currentTarget.value)} />
        </label>
      )}
      {error && <ErrorView error={error} />}
      <div class="actions">
        <button type="button" class="button" onClick={cancel}>
          Back
        </button>
        <button type="submit" class={`button ${said || !approves ? "grave" : "primary"}`} disabled={!ready}>
          {label}
        </button>
      </div>
    </form>
  );
}
