import { EnvironmentKind } from "@freehold/client/gen/freehold/tenants/v1/environment_pb";

import { all, api } from "../lib/api.js";
import { word } from "../lib/format.js";
import { lastPart, parentOf, pathOf } from "../lib/names.js";
import { useQuery } from "../lib/query.js";
import { Link } from "../lib/router.jsx";
import { Ago } from "../parts/times.jsx";
import { Answer, Empty, Page, Panel } from "../parts/ui.jsx";

/** Which environments does this project have? */
export function ProjectPage({ name }: { name: string }) {
  const tenant = parentOf(name);
  const project = useQuery(`project:${name}`, () => api.projects.getProject({ name }), [name]);
  const environments = useQuery(
    `environments:${name}`,
    () =>
      all(async (pageToken) => {
        const page = await api.environments.listEnvironments({ parent: name, pageSize: 500, pageToken });
        return { items: page.environments, nextPageToken: page.nextPageToken };
      }),
    [name],
  );
  const { displayName, description } = project.data?.project ?? {};
  return (
    <Page kind="Project" title={displayName || lastPart(name)} crumbs={[{ text: lastPart(tenant), to: pathOf(tenant) ?? "/" }]}>
      {description && <p>{description}</p>}
      <Panel title="Environments" note={environments.data?.length}>
        <Answer query={environments}>
          {(list) =>
            list.length === 0 ? (
              <Empty cli={`freehold environment create ${lastPart(name)}/dev --kind dev`}>
                Deployments run in environments, for example dev and prod. This project has none yet.
              </Empty>
            ) : (
              <ul class="list">
                {list.map((environment) => (
                  <li key={environment.name}>
                    <Link to={pathOf(environment.name) ?? "/"} class="row" row>
                      <span class="what">
                        <strong>{lastPart(environment.name)}</strong>
                        <span class="quiet">{environment.displayName || word(EnvironmentKind, environment.kind)}</span>
                      </span>
                      <span class="quiet">{environment.requireApproval || environment.kind === EnvironmentKind.PROD ? "applies need an approval" : ""}</span>
                      <span class="when">
                        <Ago time={environment.createTime} />
                      </span>
                    </Link>
                  </li>
                ))}
              </ul>
            )
          }
        </Answer>
      </Panel>
    </Page>
  );
}
