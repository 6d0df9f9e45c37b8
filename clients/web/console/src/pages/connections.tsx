import { all, api } from "../lib/api.js";
import { checkVerdict, connectionVerdict } from "../lib/integrations.js";
import { lastPart, pathOf } from "../lib/names.js";
import { useQuery } from "../lib/query.js";
import { Link } from "../lib/router.jsx";
import { Ago } from "../parts/times.jsx";
import { Answer, Badge, Empty, Page, Panel } from "../parts/ui.jsx";

/** Which systems does Freehold talk to, and does that work? */
export function Connections({ tenant }: { tenant: string }) {
  const connections = useQuery(
    `connections:${tenant}`,
    () =>
      all(async (pageToken) => {
        const page = await api.connections.listConnections({ parent: tenant, pageSize: 500, pageToken });
        return { items: page.connections, nextPageToken: page.nextPageToken };
      }),
    [`${tenant}/connections`],
  );
  return (
    <Page title="Connections" crumbs={[{ text: lastPart(tenant), to: pathOf(tenant) ?? "/" }]}>
      <Panel title="Systems" note={connections.data?.length}>
        <Answer query={connections}>
          {(list) =>
            list.length === 0 ? (
              <Empty cli="freehold connection create code github --credential-file token=token.txt">
                A connection is a system that Freehold talks to, such as GitHub or Slack, with credentials that nobody reads again. There is none yet. They are made on the
                command line, where secrets come from files:
              </Empty>
            ) : (
              <ul class="list">
                {list.map((connection) => {
                  const [state, check] = [connectionVerdict(connection), checkVerdict(connection.lastCheck)];
                  return (
                    <li key={connection.name}>
                      <Link to={pathOf(connection.name) ?? "/"} class="row" row>
                        <span class="what">
                          <strong>{connection.displayName || lastPart(connection.name)}</strong>
                          <span class="quiet">{connection.connector}</span>
                        </span>
                        {connection.dryRun && <Badge tone="wait">dry run</Badge>}
                        <Badge tone={state.tone}>{state.word}</Badge>
                        <Badge tone={check.tone}>{check.word}</Badge>
                        <span class="when">
                          <span class="quiet">tested</span>
                          <Ago time={connection.lastCheck?.checkTime} />
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
