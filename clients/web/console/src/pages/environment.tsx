import { type Deployment, DeploymentState } from "@freehold/client/gen/freehold/deployments/v1/deployment_pb";
import { EnvironmentKind } from "@freehold/client/gen/freehold/tenants/v1/environment_pb";

import { api } from "../lib/api.js";
import { word } from "../lib/format.js";
import { lastPart, parentOf, parts, pathOf, shortName, versionName } from "../lib/names.js";
import { useQuery } from "../lib/query.js";
import { Link, setQuery, usePlace } from "../lib/router.jsx";
import { listDeployments } from "../lib/waiting.js";
import { Icon, type Tone } from "../parts/icons.jsx";
import { RunStateOf } from "../parts/runs.jsx";
import { Ago } from "../parts/times.jsx";
import { Answer, Badge, Empty, Page, Panel } from "../parts/ui.jsx";

const TONES: Partial<Record<DeploymentState, Tone>> = {
  [DeploymentState.ACTIVE]: "good",
  [DeploymentState.PARTIAL]: "bad",
  [DeploymentState.QUARANTINED]: "bad",
};

/** What of a deployment is there. */
export function DeploymentBadge({ deployment }: { deployment: Deployment }) {
  return <Badge tone={TONES[deployment.state] ?? "idle"}>{word(DeploymentState, deployment.state)}</Badge>;
}

/** What runs here? */
export function EnvironmentPage({ name }: { name: string }) {
  const { query } = usePlace();
  const { tenants = "", projects = "" } = parts(name);
  const environment = useQuery(`environment:${name}`, () => api.environments.getEnvironment({ name }), [name]);
  const deployments = useQuery(`deployments:${name}`, () => listDeployments(name), [name]);
  const [text, state, drift] = [query.get("q") ?? "", query.get("state") ?? "", query.get("drift") ?? ""];
  const fits = (deployment: Deployment) =>
    (!text || `${lastPart(deployment.name)} ${deployment.displayName} ${versionName(deployment.blueprintVersion)}`.toLowerCase().includes(text.toLowerCase())) &&
    (!state || word(DeploymentState, deployment.state) === state) &&
    (!drift || deployment.drifted);
  const { kind } = environment.data?.environment ?? {};
  const deploy = `/t/${tenants}/deploy?in=${shortName(name)}`;
  return (
    <Page
      kind="Environment"
      title={lastPart(name)}
      badge={kind !== undefined && word(EnvironmentKind, kind) !== lastPart(name) && <span class="tag">{word(EnvironmentKind, kind)}</span>}
      crumbs={[
        { text: tenants, to: `/t/${tenants}` },
        { text: projects, to: pathOf(parentOf(name)) ?? "/" },
      ]}
      actions={
        <Link to={deploy} class="button primary">
          <Icon name="plus" /> Deploy
        </Link>
      }
    >
      <Panel title="Deployments" note={deployments.data?.length}>
        <form class="filters" onSubmit={(event) => event.preventDefault()}>
          <input type="text" aria-label="Name or blueprint" placeholder="Name or blueprint" value={text} onInput={(event) => setQuery({ q: event.currentTarget.value })} />
          <select aria-label="State" value={state} onChange={(event) => setQuery({ state: event.currentTarget.value })}>
            <option value="">any state</option>
            {["new", "active", "partial", "destroyed", "quarantined", "abandoned"].map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
          <label class="check">
            <input type="checkbox" checked={drift !== ""} onChange={(event) => setQuery({ drift: event.currentTarget.checked ? "yes" : undefined })} />
            drifted only
          </label>
        </form>
        <Answer query={deployments}>
          {(list) => {
            const shown = list.filter(fits);
            if (list.length === 0)
              return (
                <Empty cli={`freehold deployment create ${shortName(name)}/web --blueprint NAME@VERSION`}>
                  Nothing is deployed here. A deployment is a blueprint version with inputs. <Link to={deploy}>Deploy the first one</Link>, or:
                </Empty>
              );
            if (shown.length === 0)
              return (
                <Empty>
                  No deployment here fits these filters.{" "}
                  <button type="button" class="button small" onClick={() => setQuery({ q: undefined, state: undefined, drift: undefined })}>
                    Show all
                  </button>
                </Empty>
              );
            return (
              <div class="scroll" tabIndex={0} role="group" aria-label="Deployments">
                <table>
                  <thead>
                    <tr>
                      <th scope="col">Name</th>
                      <th scope="col">State</th>
                      <th scope="col">Blueprint</th>
                      <th scope="col">Last run</th>
                      <th scope="col">Drift</th>
                      <th scope="col" class="number">
                        Changed
                      </th>
                    </tr>
                  </thead>
                  <tbody>
                    {shown.map((deployment) => (
                      <tr key={deployment.name}>
                        <th scope="row">
                          <Link to={pathOf(deployment.name) ?? "/"} row>
                            {lastPart(deployment.name)}
                          </Link>
                          {deployment.displayName && <span class="quiet"> {deployment.displayName}</span>}
                        </th>
                        <td>
                          <DeploymentBadge deployment={deployment} />
                        </td>
                        <td class="mono">{versionName(deployment.blueprintVersion)}</td>
                        <td>{deployment.lastRun ? <Link to={pathOf(deployment.lastRun) ?? "/"}><RunStateOf name={deployment.lastRun} /></Link> : <span class="quiet">none</span>}</td>
                        <td>{deployment.drifted ? <Badge tone="wait">drifted</Badge> : <span class="quiet">none</span>}</td>
                        <td class="number">
                          <Ago time={deployment.updateTime} />
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            );
          }}
        </Answer>
      </Panel>
    </Page>
  );
}
