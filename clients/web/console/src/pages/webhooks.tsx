import { all, api } from "../lib/api.js";
import { endpointVerdict, wants } from "../lib/integrations.js";
import { lastPart, pathOf } from "../lib/names.js";
import { useQuery } from "../lib/query.js";
import { Link } from "../lib/router.jsx";
import { Icon } from "../parts/icons.jsx";
import { Ago } from "../parts/times.jsx";
import { Answer, Badge, Empty, Page, Panel } from "../parts/ui.jsx";

/** Who is sent what happens, and does it arrive? */
export function Webhooks({ tenant }: { tenant: string }) {
  const endpoints = useQuery(
    `webhooks:${tenant}`,
    () =>
      all(async (pageToken) => {
        const page = await api.webhooks.listWebhookEndpoints({ parent: tenant, pageSize: 500, pageToken });
        return { items: page.webhookEndpoints, nextPageToken: page.nextPageToken };
      }),
    [`${tenant}/webhookEndpoints`],
  );
  const create = `${pathOf(tenant)}/create-webhook`;
  return (
    <Page
      title="Webhooks"
      crumbs={[{ text: lastPart(tenant), to: pathOf(tenant) ?? "/" }]}
      actions={
        <Link to={create} class="button primary">
          <Icon name="plus" /> Create an endpoint
        </Link>
      }
    >
      <Panel title="Endpoints" note={endpoints.data?.length}>
        <Answer query={endpoints}>
          {(list) =>
            list.length === 0 ? (
              <Empty cli="freehold webhook create ops https://receiver.example/freehold --kind 'run.*'">
                An endpoint is a receiver of this tenant's events over HTTP. There is none yet. <Link to={create}>Create the first one</Link>, or:
              </Empty>
            ) : (
              <ul class="list">
                {list.map((endpoint) => {
                  const { word, tone } = endpointVerdict(endpoint);
                  return (
                    <li key={endpoint.name}>
                      <Link to={pathOf(endpoint.name) ?? "/"} class="row" row>
                        <span class="what">
                          <strong>{endpoint.displayName || lastPart(endpoint.name)}</strong>
                          <span class="quiet">{endpoint.url}</span>
                        </span>
                        <span class="what">
                          <span class="quiet">{wants(endpoint)}</span>
                        </span>
                        <Badge tone={tone}>{word}</Badge>
                        <span class="when">
                          {endpoint.failingSince ? (
                            <>
                              <span class="quiet">failing since</span>
                              <Ago time={endpoint.failingSince} />
                            </>
                          ) : (
                            <Ago time={endpoint.disableTime ?? endpoint.createTime} />
                          )}
                        </span>
                      </Link>
                    </li>
                  );
                })}
              </ul>
            )
          }
        </Answer>
      </Panel>
    </Page>
  );
}
