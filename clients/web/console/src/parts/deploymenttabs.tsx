import type { FreeholdError } from "@freehold/client/core";
import type { Deployment, Revision } from "@freehold/client/gen/freehold/deployments/v1/deployment_pb";
import { DriftClass, type DriftItem, DriftItemState } from "@freehold/client/gen/freehold/deployments/v1/drift_pb";
import { useState } from "preact/hooks";

import { all, api } from "../lib/api.js";
import { count, shortUid, shown, word } from "../lib/format.js";
import { lastPart, pathOf, shortName, versionName } from "../lib/names.js";
import { useQuery } from "../lib/query.js";
import { Link, go } from "../lib/router.jsx";
import { noticeError } from "../lib/session.js";
import { Icon } from "./icons.jsx";
import { Ago } from "./times.jsx";
import { Answer, Badge, Copy, Empty, ErrorView, Panel, Person, Prose } from "./ui.jsx";
import { Inputs } from "./values.jsx";

/** What a deployment has made. */
export function Resources({ name }: { name: string }) {
  const resources = useQuery(
    `resources:${name}`,
    () =>
      all(async (pageToken) => {
        const page = await api.state.listManagedResources({ parent: name, pageSize: 500, pageToken });
        return { items: page.managedResources, nextPageToken: page.nextPageToken };
      }),
    [name],
  );
  return (
    <Panel title="Resources" note={resources.data?.length}>
      <Answer query={resources}>
        {(list) =>
          list.length === 0 ? (
            <Empty cli={`freehold deployment apply ${shortName(name)}`}>Nothing has been made yet. An apply makes what the blueprint describes.</Empty>
          ) : (
            <div class="scroll" tabIndex={0} role="group" aria-label="Resources">
              <table>
                <thead>
                  <tr>
                    <th scope="col">Address</th>
                    <th scope="col">Type</th>
                    <th scope="col">Id</th>
                    <th scope="col">Made from</th>
                  </tr>
                </thead>
                <tbody>
                  {list.map((resource) => (
                    <tr key={resource.address}>
                      <th scope="row" class="mono">
                        {resource.address}
                      </th>
                      <td>{resource.type}</td>
                      <td>{resource.id ? <Copy text={resource.id} what="id" /> : <span class="quiet">none</span>}</td>
                      <td class="mono">{resource.dependsOn.join(", ") || <span class="quiet">nothing else</span>}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Answer>
    </Panel>
  );
}

/** What was made real, and the way back to it. */
export function Revisions({ deployment }: { deployment: Deployment }) {
  const { name } = deployment;
  const revisions = useQuery(
    `revisions:${name}`,
    async () => {
      const list = await all(async (pageToken) => {
        const page = await api.deployments.listRevisions({ parent: name, pageSize: 500, pageToken });
        return { items: page.revisions, nextPageToken: page.nextPageToken };
      });
      return list.reverse();
    },
    [name],
  );
  return (
    <Panel title="Revisions" note={revisions.data?.length}>
      <Answer query={revisions}>
        {(list) =>
          list.length === 0 ? (
            <Empty>Nothing was made real yet. Each successful apply adds a revision, which a rollback can go back to.</Empty>
          ) : (
            <ul class="list">
              {list.map((revision, index) => (
                <RevisionRow key={String(revision.number)} deployment={deployment} revision={revision} before={list[index + 1]} />
              ))}
            </ul>
          )
        }
      </Answer>
    </Panel>
  );
}

function RevisionRow({ deployment, revision, before }: { deployment: Deployment; revision: Revision; before: Revision | undefined }) {
  const [error, setError] = useState<FreeholdError>();
  const real = revision.number === deployment.observedRevision;
  const differs = before && [...new Set([...Object.keys(before.inputs ?? {}), ...Object.keys(revision.inputs ?? {})])].filter(
    (key) => JSON.stringify(before.inputs?.[key]) !== JSON.stringify(revision.inputs?.[key]),
  );
  const back = async () => {
    try {
      const { run } = await api.runs.rollbackDeployment({ name: deployment.name, revision: revision.number });
      if (run) go(pathOf(run.name) ?? "/");
    } catch (thrown) {
      setError(noticeError(thrown));
    }
  };
  return (
    <li>
      <details class="revision">
        <summary data-row="">
          <strong>Revision {String(revision.number)}</strong>
          <span class="mono">{versionName(revision.blueprintVersion)}</span>
          {real && <Badge tone="good">real</Badge>}
          <span class="quiet grow">
            {before && before.blueprintVersion !== revision.blueprintVersion && `from ${versionName(before.blueprintVersion)} `}
            {differs && differs.length > 0 && `${count(differs.length, "input")} changed: ${differs.join(", ")}`}
          </span>
          <Ago time={revision.createTime} />
          <Icon name="down" />
        </summary>
        <Inputs inputs={revision.inputs ?? {}} />
        {error && <ErrorView error={error} />}
        <div class="actions">
          <Link to={pathOf(revision.run) ?? "/"} class="button">
            Show the run {shortUid(lastPart(revision.run))}
          </Link>
          {!real && (
            <button type="button" class="button" onClick={back} title="Plans the way back; nothing changes before that plan is approved">
              Roll back to it…
            </button>
          )}
        </div>
      </details>
    </li>
  );
}

/** What is not as it was made. */
export function DriftTab({ deployment }: { deployment: Deployment }) {
  const { name } = deployment;
  const items = useQuery(`drift:${name}`, async () => (await api.drift.listDriftItems({ parent: name, pageSize: 500 })).driftItems, [name]);
  return (
    <>
      {deployment.driftReason && (
        <p class="notice">
          <Prose text={deployment.driftReason} />
        </p>
      )}
      <Answer query={items}>
        {(list) => {
          const open = list.filter((item) => item.state !== DriftItemState.RESOLVED).reverse();
          const resolved = list.filter((item) => item.state === DriftItemState.RESOLVED).reverse();
          return (
            <>
              <Panel title="Not as it was made" note={open.length}>
                {open.length === 0 ? (
                  <Empty cli={`freehold deployment drift ${shortName(name)}`}>
                    {deployment.driftCheckTime ? (
                      <>
                        All was as it was made <Ago time={deployment.driftCheckTime} />.
                      </>
                    ) : (
                      "Nobody has looked yet."
                    )}{" "}
                    To look now:
                  </Empty>
                ) : (
                  open.map((item) => <DriftView key={item.uid} item={item} changed={items.reload} />)
                )}
              </Panel>
              {resolved.length > 0 && (
                <Panel title="Put right" note={resolved.length}>
                  {resolved.slice(0, 50).map((item) => (
                    <DriftView key={item.uid} item={item} changed={items.reload} />
                  ))}
                </Panel>
              )}
            </>
          );
        }}
      </Answer>
    </>
  );
}

function DriftView({ item, changed }: { item: DriftItem; changed: () => void }) {
  const [error, setError] = useState<FreeholdError>();
  const resolved = item.state === DriftItemState.RESOLVED;
  const fresh = item.state === DriftItemState.OPEN || item.state === DriftItemState.REOPENED;
  const acknowledge = () =>
    api.drift.acknowledgeDriftItem({ name: item.name, etag: item.etag }).then(changed, (thrown: unknown) => setError(noticeError(thrown)));
  return (
    <article class="change update" aria-label={`${item.address} ${item.path}`}>
      <header>
        <h4>
          {item.address} <span class="quiet">{item.path || "is gone"}</span>
        </h4>
        <Badge tone={resolved ? "good" : fresh ? "wait" : "idle"}>{word(DriftItemState, item.state)}</Badge>
        <span class="tag">{word(DriftClass, item.class)}</span>
        {fresh && (
          <button type="button" class="button small" onClick={acknowledge} title="It alarms nobody any more while it stays">
            I know of it
          </button>
        )}
      </header>
      {error && <ErrorView error={error} />}
      <table class="attributes">
        <thead>
          <tr>
            <th scope="col">Attribute</th>
            <th scope="col">As it was made</th>
            <th scope="col">As it is</th>
          </tr>
        </thead>
        <tbody>
          <tr>
            <th scope="row">{item.path || "resource"}</th>
            <td class="old">{item.sensitive ? "hidden" : <span class="value">{shown(item.before) || "not set"}</span>}</td>
            <td class="new">{item.sensitive ? "hidden" : <span class="value">{shown(item.after) || "gone"}</span>}</td>
          </tr>
        </tbody>
      </table>
      <p class="fine">
        Found first <Ago time={item.firstSeenTime} />, {count(Number(item.count), "time")}
        {item.owner && (
          <>
            {"; with "}
            <Person principal={item.owner} />
          </>
        )}
        {item.ticket && `; ${item.ticket}`}
        {item.note && `; “${item.note}”`}
      </p>
    </article>
  );
}
