import type { BlueprintVersion } from "@freehold/client/gen/freehold/blueprints/v1/blueprint_pb";

import { all, api, each, given } from "../lib/api.js";
import { lastPart, pathOf, shortName, versionName } from "../lib/names.js";
import { useQuery } from "../lib/query.js";
import { Link, setQuery, usePlace } from "../lib/router.jsx";
import { cliInputs } from "../lib/schema.js";
import { InputForm } from "../parts/inputform.jsx";
import { Answer, Empty, Page, Panel } from "../parts/ui.jsx";

/** Deploys a blueprint version: which, where, and with what inputs. The choice of both is in the address. */
export function Deploy({ tenant }: { tenant: string }) {
  const { query } = usePlace();
  const places = useQuery(`places:${tenant}`, () => environmentsOf(tenant), [tenant]);
  const blueprints = useQuery(
    `blueprints:${tenant}`,
    () =>
      all(async (pageToken) => {
        const page = await api.blueprints.listBlueprints({ parent: tenant, pageSize: 500, pageToken });
        return { items: page.blueprints, nextPageToken: page.nextPageToken };
      }),
    [`${tenant}/blueprints`],
  );
  const usable = blueprints.data?.filter((blueprint) => blueprint.latestVersion !== "" || lastPart(blueprint.name) === query.get("blueprint"));
  // One that is the only one needs not be chosen.
  const blueprint = query.get("blueprint") ?? (usable?.length === 1 ? lastPart(usable[0]?.name ?? "") : "");
  const latest = usable?.find((one) => lastPart(one.name) === blueprint)?.latestVersion;
  const versions = useQuery(
    blueprint ? `versions:${tenant}:${blueprint}` : undefined,
    async () => {
      const list = await all(async (pageToken) => {
        const page = await api.blueprints.listBlueprintVersions({ parent: `${tenant}/blueprints/${blueprint}`, pageSize: 500, pageToken });
        return { items: page.blueprintVersions, nextPageToken: page.nextPageToken };
      });
      return list.reverse();
    },
    [`${tenant}/blueprints`],
  );
  const version = query.get("version") ?? latest ?? "";
  const environment = query.get("in") ?? (places.data?.length === 1 ? shortName(places.data[0] ?? "") : "");
  const chosen = versions.data?.find((one) => one.version === version);
  const parent = places.data?.find((name) => shortName(name) === environment);
  return (
    <Page title="Deploy" crumbs={[{ text: lastPart(tenant), to: pathOf(tenant) ?? "/" }]}>
      <Panel title="What and where">
        <Answer query={blueprints} rows={2}>
          {() =>
            usable?.length === 0 ? (
              <Empty cli="freehold blueprint publish greeting@1.0.0">
                Nothing can be deployed yet. <Link to={`/t/${lastPart(tenant)}/blueprints`}>Blueprints</Link> says how to publish one.
              </Empty>
            ) : (
              <div class="choices">
                <label class="stacked">
                  <span>Blueprint</span>
                  <select value={blueprint} onChange={(event) => setQuery({ blueprint: event.currentTarget.value, version: undefined })}>
                    <option value="">choose one</option>
                    {usable?.map(({ name }) => (
                      <option key={name} value={lastPart(name)}>
                        {lastPart(name)}
                      </option>
                    ))}
                  </select>
                </label>
                <label class="stacked">
                  <span>Version</span>
                  <select value={version} disabled={!blueprint} onChange={(event) => setQuery({ version: event.currentTarget.value })}>
                    {versions.data?.map((one) => (
                      <option key={one.name} value={one.version}>
                        {one.version}
                        {one.version === latest ? " (newest)" : ""}
                      </option>
                    ))}
                  </select>
                </label>
                <label class="stacked">
                  <span>Environment</span>
                  <select value={environment} onChange={(event) => setQuery({ in: event.currentTarget.value })}>
                    <option value="">choose one</option>
                    {places.data?.map((name) => (
                      <option key={name} value={shortName(name)}>
                        {shortName(name).replace("/", " / ")}
                      </option>
                    ))}
                  </select>
                </label>
              </div>
            )
          }
        </Answer>
        {places.data?.length === 0 && (
          <Empty cli="freehold project create shop && freehold environment create shop/dev --kind dev">Deployments run in environments, and there is none yet.</Empty>
        )}
      </Panel>
      {chosen && parent && <NewDeployment key={`${chosen.name} ${parent}`} version={chosen} parent={parent} />}
    </Page>
  );
}

/** The environments of a tenant. */
async function environmentsOf(tenant: string): Promise<string[]> {
  const projects = await all(async (pageToken) => {
    const page = await api.projects.listProjects({ parent: tenant, pageSize: 500, pageToken });
    return { items: page.projects, nextPageToken: page.nextPageToken };
  });
  const lists = await each(projects, (project) =>
    all(async (pageToken) => {
      const page = await api.environments.listEnvironments({ parent: project.name, pageSize: 500, pageToken });
      return { items: page.environments, nextPageToken: page.nextPageToken };
    }),
  );
  return lists.flat().map((environment) => environment.name);
}

function NewDeployment({ version, parent }: { version: BlueprintVersion; parent: string }) {
  return (
    <InputForm
      version={version}
      place={parent}
      send={async ({ name, inputs, validateOnly, signal }) => {
        const deployment = { blueprintVersion: version.name, inputs };
        const answer = await api.deployments.createDeployment({ parent, deploymentId: name, deployment, validateOnly }, signal ? { signal } : {});
        return given(answer.deployment).name;
      }}
      words={{ only: "Only create it", plans: "Create and plan" }}
      cli={(name, inputs, secret) =>
        `freehold deployment create ${shortName(parent)}/${name || "NAME"} --blueprint ${versionName(version.name)}${cliInputs(inputs, secret)}`
      }
    />
  );
}
