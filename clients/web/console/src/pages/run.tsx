import type { FreeholdError } from "@freehold/client/core";
import { type Run, RunKind, RunOutcome, RunPhase, StepState } from "@freehold/client/gen/freehold/deployments/v1/run_pb";
import type { Blocker } from "@freehold/client/gen/freehold/deployments/v1/explanation_pb";
import { useState } from "preact/hooks";

import { api } from "../lib/api.js";
import { count, ms, shortDigest, shortUid } from "../lib/format.js";
import { lastPart, parentOf, parts, pathOf, shortName, versionName } from "../lib/names.js";
import { sentence } from "../lib/phases.js";
import { useQuery } from "../lib/query.js";
import { Link } from "../lib/router.jsx";
import { useRun } from "../lib/runstream.js";
import { noticeError } from "../lib/session.js";
import { Decision } from "../parts/decision.jsx";
import { Icon } from "../parts/icons.jsx";
import { LogView } from "../parts/logview.jsx";
import { PhaseLine } from "../parts/phaseline.jsx";
import { DriftFound, PlanView } from "../parts/planview.jsx";
import { RunState } from "../parts/runs.jsx";
import { Steps } from "../parts/steps.jsx";
import { Ago, Elapsed } from "../parts/times.jsx";
import { Badge, Cli, Copy, ErrorView, Fact, Page, Panel, Person, Prose, Skeleton } from "../parts/ui.jsx";

/** What is happening, what will change, may it? */
export function RunPage({ name }: { name: string }) {
  const { run, plan, lines, version, error } = useRun(name);
  const { tenants = "", projects = "", environments = "", deployments = "" } = parts(name);
  const deployment = parentOf(name);
  const crumbs = [
    { text: tenants, to: `/t/${tenants}` },
    { text: projects, to: pathOf(`tenants/${tenants}/projects/${projects}`) ?? "/" },
    { text: environments, to: pathOf(parentOf(deployment)) ?? "/" },
    { text: deployments, to: pathOf(deployment) ?? "/" },
  ];
  if (!run)
    return (
      <Page kind="Run" title={shortUid(lastPart(name))} crumbs={crumbs}>
        {error ? <ErrorView error={error} /> : <Skeleton rows={8} />}
      </Page>
    );
  const open = run.phase !== RunPhase.DONE;
  const looks = run.kind === RunKind.DRIFT;
  const version_ = versionName(run.blueprintVersion);
  const decides = run.phase === RunPhase.AWAITING_APPROVAL && plan && plan.digest === run.planDigest;
  return (
    <Page
      title={sentence(run, deployments)}
      crumbs={crumbs}
      badge={<RunState run={run} />}
      actions={open ? <Cancel run={run} /> : <Next run={run} />}
    >
      <p class="lead">
        {version_ && <span class="mono">{version_}</span>} in {shortName(parentOf(deployment)).replaceAll("/", " / ")}, started by{" "}
        <Person principal={run.createPrincipal} /> <Ago time={run.createTime} />
        {run.message && <>: “{run.message}”</>}
        {" · "}
        <Elapsed from={ms(run.createTime)} to={ms(run.endTime)} />
      </p>
      <PhaseLine run={run} planned={ms(plan?.createTime)} />
      {error && <ErrorView error={error} />}
      {run.error && <Failure run={run} />}
      {open && run.waitingOn && !decides && <Waiting run={run} />}
      {decides && <Decision run={run} plan={plan} decided={() => undefined} />}
      <div class="run-columns">
        <div class="run-main">
          {plan ? (
            <Panel title={looks ? "What was found" : "Plan"}>{looks ? <DriftFound plan={plan} /> : <PlanView plan={plan} />}</Panel>
          ) : (
            looks && run.driftCheck && (
              <Panel title="What the look came to">
                <p>{run.driftCheck.reason || "All is as it was made."}</p>
                <Link to={`${pathOf(deployment)}?tab=drift`}>Show what is not as it was made</Link>
              </Panel>
            )
          )}
          {run.steps.some((step) => step.state !== StepState.PENDING) && (
            <Panel title="Steps" note={run.steps.length}>
              <Steps run={run} />
            </Panel>
          )}
        </div>
        <aside class="run-side" aria-label="About this run">
          {decides && run.waitingOn && (
            <Panel title="Who can decide">
              <Waiting run={run} />
            </Panel>
          )}
          {!looks && run.kind !== RunKind.PLAN && (
            <Panel title="Approvals" note={run.approvals.length || undefined}>
              <Approvals run={run} />
            </Panel>
          )}
          <Panel title="Facts">
            <dl class="facts">
              {run.planDigest && (
                <Fact name="Plan">
                  <Copy text={run.planDigest} what="digest of the plan">
                    {shortDigest(run.planDigest)}
                  </Copy>
                </Fact>
              )}
              {run.reviewDigest && (
                <Fact name="Version and inputs">
                  <Copy text={run.reviewDigest} what="digest of version and inputs">
                    {shortDigest(run.reviewDigest)}
                  </Copy>
                </Fact>
              )}
              <Fact name="Run">
                <Copy text={run.uid} what="id of the run">
                  {shortUid(run.uid)}
                </Copy>
              </Fact>
              {run.runner && <Fact name="Runner">{lastPart(run.runner)}</Fact>}
              {run.sandbox && <Fact name="Sandbox">{run.sandbox.replaceAll(",", ", ")}</Fact>}
              {run.attempt > 1 && <Fact name="Attempt">{run.attempt}</Fact>}
              {open && run.deadline && (
                <Fact name="Ends by itself">
                  <Ago time={run.deadline} />
                </Fact>
              )}
            </dl>
          </Panel>
          {run.dependencies.length > 0 && (
            <Panel title="Takes from">
              <ul class="plain">
                {run.dependencies.map((dependency) => (
                  <li key={dependency.deployment}>
                    <Link to={pathOf(dependency.deployment) ?? "/"}>{shortName(dependency.deployment)}</Link>{" "}
                    <span class="quiet">{dependency.revision > 0n ? `revision ${dependency.revision}` : "not yet"}</span>
                  </li>
                ))}
              </ul>
            </Panel>
          )}
        </aside>
      </div>
      <Panel title="Log">
        <LogView lines={lines} version={version} open={open} />
      </Panel>
    </Page>
  );
}

function Failure({ run }: { run: Run }) {
  const { error } = run;
  if (!error) return null;
  return (
    <div class="error" role="alert">
      <Icon name="warn" />
      <div>
        <p>
          {error.address && <code>{error.address} </code>}
          <Prose text={error.message} />
        </p>
        {error.hint && (
          <p>
            <Prose text={error.hint} />
          </p>
        )}
        <p class="fine">
          <span class="reason">{error.code}</span> {error.retryable && "A new run may well succeed."}
        </p>
      </div>
    </div>
  );
}

/** On what it waits, since when, and who or what can end that. */
function Waiting({ run }: { run: Run }) {
  const key = `explain:${run.name}:${run.phase}:${run.waitingOn?.reason}`;
  const { data } = useQuery(key, () => api.runs.explainRun({ name: run.name }), [run.name]);
  const why = data?.runExplanation;
  const since = ms(why?.waitingOn?.since ?? run.waitingOn?.since);
  return (
    <section class="waiting" aria-label="What it waits for">
      <Badge tone="wait">
        waits <Elapsed from={since} to={undefined} />
      </Badge>
      <div>
        <p>
          <Prose text={why?.waitingOn?.detail || run.waitingOn?.detail || ""} />
        </p>
        {why && why.blockers.length > 0 && (
          <ul class="blockers">
            {why.blockers.map((blocker) => (
              <BlockerView key={blocker.resource + blocker.detail} blocker={blocker} />
            ))}
          </ul>
        )}
        {why && (
          <p class="fine">
            {why.predictedStartTime && (
              <>
                Will probably go on <Ago time={why.predictedStartTime} />.{" "}
              </>
            )}
            <Prose text={why.prediction} /> {why.queuePosition !== undefined && `Number ${why.queuePosition} in the queue. `}
            {why.next && <Prose text={`Next: ${why.next}`} />}
          </p>
        )}
      </div>
    </section>
  );
}

function BlockerView({ blocker }: { blocker: Blocker }) {
  const to = pathOf(blocker.resource);
  const command = /^freehold /.test(blocker.action);
  return (
    <li>
      {blocker.resource && (to ? <Link to={to}>{shortName(blocker.resource)}</Link> : <strong>{shortName(blocker.resource)}</strong>)}
      {blocker.resource && ": "}
      <Prose text={blocker.detail} />
      {blocker.action && (command ? <Cli line={blocker.action} /> : <span class="quiet"> {blocker.action}</span>)}
    </li>
  );
}

function Approvals({ run }: { run: Run }) {
  if (run.approvals.length === 0) {
    const text = run.phase === RunPhase.DONE ? "Nobody has decided on it." : run.approvalRequired ? "Nobody has decided yet." : "None is needed.";
    return <p class="quiet">{text}</p>;
  }
  return (
    <ul class="plain approvals">
      {run.approvals.map((approval) => (
        <li key={`${approval.principal}${ms(approval.createTime)}`}>
          <Badge tone={approval.voidReason ? "idle" : approval.decision === 1 ? "good" : "bad"}>{approval.decision === 1 ? "approved" : "rejected"}</Badge>{" "}
          <Person principal={approval.principal} /> <Ago time={approval.createTime} />
          {approval.comment && <blockquote>{approval.comment}</blockquote>}
          {approval.voidReason && <p class="fine">does not count: {approval.voidReason}</p>}
          <p class="fine">
            <Copy text={approval.planDigest} what="digest of the approved plan">
              {shortDigest(approval.planDigest)}
            </Copy>
          </p>
        </li>
      ))}
    </ul>
  );
}

/** Asks a run to stop. What is under way is finished, so nothing has to be confirmed twice. */
function Cancel({ run }: { run: Run }) {
  const [error, setError] = useState<FreeholdError>();
  if (run.cancelRequested) return <span class="quiet">stops after what is under way</span>;
  const cancel = () => api.runs.cancelRun({ name: run.name }).catch((thrown: unknown) => setError(noticeError(thrown)));
  return (
    <>
      {error && <ErrorView error={error} />}
      <button type="button" class="button" onClick={cancel} title="Before the apply it ends at once; in the apply, steps under way are finished">
        Cancel the run
      </button>
    </>
  );
}

/** What can be done after the end. */
function Next({ run }: { run: Run }) {
  const to = pathOf(parentOf(run.name)) ?? "/";
  const went = run.outcome === RunOutcome.SUCCEEDED || run.outcome === RunOutcome.NO_CHANGES;
  return (
    <Link to={to} class={went ? "button primary" : "button"}>
      {went && run.kind !== RunKind.DESTROY ? "Show the deployment" : `Back to ${parts(run.name)["deployments"] || count(1, "deployment")}`}
    </Link>
  );
}
