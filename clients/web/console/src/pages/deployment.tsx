import type { FreeholdError } from "@freehold/client/core";
import type { Deployment } from "@freehold/client/gen/freehold/deployments/v1/deployment_pb";
import type { Run } from "@freehold/client/gen/freehold/deployments/v1/run_pb";
import { useState } from "preact/hooks";

import { api } from "../lib/api.js";
import { lastPart, parentOf, parts, pathOf, shortName, versionName } from "../lib/names.js";
import { type Query, useQuery } from "../lib/query.js";
import { Link, go, usePlace } from "../lib/router.jsx";
import { noticeError } from "../lib/session.js";
import { DriftTab, Resources, Revisions } from "../parts/deploymenttabs.jsx";
import { Inputs, Outputs } from "../parts/values.jsx";
import { RunList, RunStateOf } from "../parts/runs.jsx";
import { Ago } from "../parts/times.jsx";
import { Answer, Badge, Copy, Empty, ErrorView, Fact, Page, Panel, Person, Prose, Tabs } from "../parts/ui.jsx";
import { DeploymentBadge } from "./environment.jsx";

const TABS = [
  ["", "Overview"],
  ["resources", "Resources"],
  ["revisions", "Revisions"],
  ["drift", "Drift"],
  ["runs", "Runs"],
] as const;

/** What is this, and is it as declared? */
export function DeploymentPage({ name }: { name: string }) {
  const { query, path } = usePlace();
  const tab = query.get("tab") ?? "";
  const deployment = useQuery(`deployment:${name}`, async () => (await api.deployments.getDeployment({ name })).deployment, [name]);
  const { tenants = "", projects = "", environments = "" } = parts(name);
  const data = deployment.data;
  return (
    <Page
      kind="Deployment"
      title={lastPart(name)}
      crumbs={[
        { text: tenants, to: `/t/${tenants}` },
        { text: projects, to: pathOf(`tenants/${tenants}/projects/${projects}`) ?? "/" },
        { text: environments, to: pathOf(parentOf(name)) ?? "/" },
      ]}
      badge={
        data && (
          <>
            <DeploymentBadge deployment={data} />
            {data.drifted && <Badge tone="wait">drifted</Badge>}
          </>
        )
      }
      actions={data && <Actions deployment={data} />}
    >
      <Answer query={deployment}>
        {(found) =>
          found && (
            <>
              <p class="lead">
                {found.displayName && <>{found.displayName} · </>}
                <Link to={pathOf(found.blueprintVersion) ?? "/"} class="mono">
                  {versionName(found.blueprintVersion)}
                </Link>
                {found.observedRevision > 0n && <> · revision {String(found.observedRevision)} is real</>}
                {found.lastRun && (
                  <>
                    {" · last run "}
                    <Link to={pathOf(found.lastRun) ?? "/"}>
                      <RunStateOf name={found.lastRun} />
                    </Link>
                  </>
                )}
              </p>
              {found.conditions.map((condition) => (
                <p key={condition.type} class="notice">
                  <Prose text={condition.message} />
                </p>
              ))}
              {found.abandonment && (
                <p class="notice">
                  Abandoned by <Person principal={found.abandonment.principal} /> <Ago time={found.abandonment.abandonTime} />: {found.abandonment.reason}
                </p>
              )}
              <Tabs tabs={TABS} current={tab} to={(id) => path + (id && `?tab=${id}`)} />
              {tab === "" && <Overview deployment={found} />}
              {tab === "resources" && <Resources name={name} />}
              {tab === "revisions" && <Revisions deployment={found} />}
              {tab === "drift" && <DriftTab deployment={found} />}
              {tab === "runs" && <Runs name={name} most={100} />}
            </>
          )
        }
      </Answer>
    </Page>
  );
}

function Overview({ deployment }: { deployment: Deployment }) {
  const { name } = deployment;
  return (
    <>
      <div class="columns">
        <Panel title="Inputs">
          <Inputs inputs={deployment.inputs ?? {}} />
        </Panel>
        <Panel title="Outputs">
          <Outputs name={name} />
        </Panel>
      </div>
      <Runs name={name} most={5} />
      <Panel title="Facts">
        <dl class="facts wide">
          <Fact name="Created">
            <Ago time={deployment.createTime} /> by <Person principal={deployment.createPrincipal} />
          </Fact>
          <Fact name="Changed">
            <Ago time={deployment.updateTime} />
          </Fact>
          <Fact name="Looked at for drift">
            <Ago time={deployment.driftCheckTime} />
          </Fact>
          {deployment.endTime && (
            <Fact name="Ends">
              <Ago time={deployment.endTime} />
            </Fact>
          )}
          <Fact name="Protected from removal">{deployment.deletionProtection ? "yes" : "no"}</Fact>
          <Fact name="Applies by itself">{deployment.autoApply ? "where no approval is needed" : "no"}</Fact>
          {deployment.dependsOn.length > 0 && (
            <Fact name="Comes after">
              {deployment.dependsOn.map((other) => (
                <Link key={other} to={pathOf(other) ?? "/"}>
                  {shortName(other)}{" "}
                </Link>
              ))}
            </Fact>
          )}
          {Object.entries(deployment.labels).map(([key, value]) => (
            <Fact key={key} name={key}>
              {value}
            </Fact>
          ))}
          <Fact name="Name">
            <Copy text={name} what="name">
              {shortName(name)}
            </Copy>
          </Fact>
        </dl>
      </Panel>
    </>
  );
}

function Runs({ name, most }: { name: string; most: number }) {
  const runs: Query<Run[]> = useQuery(
    `runs:${name}:${most}`,
    async () => (await api.runs.listRuns({ parent: name, pageSize: most, newestFirst: true })).runs,
    [name],
  );
  return (
    <Panel title={most > 5 ? "Runs" : "Last runs"}>
      <Answer query={runs}>
        {(list) =>
          list.length === 0 ? (
            <Empty cli={`freehold deployment plan ${shortName(name)}`}>No run yet. A plan shows what would be made, and makes nothing.</Empty>
          ) : (
            <RunList runs={list} named={false} />
          )
        }
      </Answer>
    </Panel>
  );
}

/** Begins runs. Each of them shows its plan before it changes anything, so none needs to be confirmed here. */
function Actions({ deployment }: { deployment: Deployment }) {
  const { name } = deployment;
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<FreeholdError>();
  const begin = async (start: () => Promise<{ run?: Run | undefined }>) => {
    setBusy(true);
    setError(undefined);
    try {
      const { run } = await start();
      if (run) go(pathOf(run.name) ?? "/");
    } catch (thrown) {
      setError(noticeError(thrown));
      setBusy(false);
    }
  };
  return (
    <>
      {error && <ErrorView error={error} />}
      <button type="button" class="button" disabled={busy} onClick={() => begin(() => api.runs.destroyDeployment({ name }))} title="Plans the removal; nothing goes before that plan is approved">
        Destroy…
      </button>
      <button type="button" class="button" disabled={busy} onClick={() => begin(() => api.runs.detectDrift({ name }))} title="Looks whether reality still is as it was made">
        Look for drift
      </button>
      <Link to={`${pathOf(name)}/change`} class="button">
        Change
      </Link>
      <button type="button" class="button primary" disabled={busy} onClick={() => begin(() => api.runs.planDeployment({ name }))} title="Plans; nothing changes before the plan is approved">
        Plan
      </button>
    </>
  );
}
