import { all, api } from "../lib/api.js";
import { lastPart, pathOf } from "../lib/names.js";
import { useQuery } from "../lib/query.js";
import { Link } from "../lib/router.jsx";
import { Ago } from "../parts/times.jsx";
import { Answer, Empty, Page, Panel } from "../parts/ui.jsx";

/** What can I deploy? */
export function Blueprints({ tenant }: { tenant: string }) {
  const blueprints = useQuery(
    `blueprints:${tenant}`,
    () =>
      all(async (pageToken) => {
        const page = await api.blueprints.listBlueprints({ parent: tenant, pageSize: 500, pageToken });
        return { items: page.blueprints, nextPageToken: page.nextPageToken };
      }),
    [`${tenant}/blueprints`],
  );
  return (
    <Page title="Blueprints" crumbs={[{ text: lastPart(tenant), to: pathOf(tenant) ?? "/" }]}>
      <Panel title="What can be deployed" note={blueprints.data?.length}>
        <Answer query={blueprints}>
          {(list) =>
            list.length === 0 ? (
              <Empty cli="freehold blueprint create greeting && freehold blueprint push deploy/samples/greeting && freehold blueprint publish greeting@1.0.0">
                A blueprint is a reviewed description of infrastructure. None has been published here; this publishes the sample of the repository:
              </Empty>
            ) : (
              <ul class="list">
                {list.map((blueprint) => (
                  <li key={blueprint.name}>
                    <Link to={pathOf(blueprint.name) ?? "/"} class="row" row>
                      <span class="what">
                        <strong>{blueprint.displayName || lastPart(blueprint.name)}</strong>
                        <span class="quiet">{blueprint.description}</span>
                      </span>
                      <span class="mono">{blueprint.latestVersion || <span class="quiet">not published</span>}</span>
                      <span class="when">
                        <Ago time={blueprint.updateTime} />
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
