import { TenantState } from "@freehold/client/gen/freehold/tenants/v1/tenant_pb";

import { all, api } from "../lib/api.js";
import { lastPart, pathOf } from "../lib/names.js";
import { useQuery } from "../lib/query.js";
import { Link } from "../lib/router.jsx";
import { Icon } from "../parts/icons.jsx";
import { QuotaBar } from "../parts/quota.jsx";
import { Ago } from "../parts/times.jsx";
import { Answer, Badge, Empty, Page, Panel, Person } from "../parts/ui.jsx";

/** How is this tenant? */
export function TenantPage({ name }: { name: string }) {
  const id = lastPart(name);
  const tenant = useQuery(`tenant:${name}`, () => api.tenants.getTenant({ name }), [name]);
  const quotas = useQuery(`quotas:${name}`, () => api.quotas.listQuotas({ parent: name }), [name]);
  const projects = useQuery(
    `projects:${name}`,
    () =>
      all(async (pageToken) => {
        const page = await api.projects.listProjects({ parent: name, pageSize: 500, pageToken });
        return { items: page.projects, nextPageToken: page.nextPageToken };
      }),
    [name],
  );
  const { state, displayName, suspendReason } = tenant.data?.tenant ?? {};
  return (
    <Page
      kind="Tenant"
      title={displayName || id}
      badge={
        state === TenantState.ACTIVE ? (
          <Badge tone="good">active</Badge>
        ) : state === undefined ? null : (
          <Badge tone="bad">{state === TenantState.SUSPENDED ? `suspended: ${suspendReason}` : "deleted"}</Badge>
        )
      }
      actions={
        <Link to={`/t/${id}/deploy`} class="button primary">
          <Icon name="plus" /> Deploy
        </Link>
      }
    >
      <Panel title="Projects" note={projects.data?.length}>
        <Answer query={projects}>
          {(list) =>
            list.length === 0 ? (
              <Empty cli="freehold project create shop">A project groups environments such as dev and prod. This tenant has none yet.</Empty>
            ) : (
              <ul class="list">
                {list.map((project) => (
                  <li key={project.name}>
                    <Link to={pathOf(project.name) ?? "/"} class="row" row>
                      <span class="what">
                        <strong>{project.displayName || lastPart(project.name)}</strong>
                        <span class="quiet">{project.description || lastPart(project.name)}</span>
                      </span>
                      <span class="who">
                        <Person principal={project.createPrincipal} />
                      </span>
                      <span class="when">
                        <Ago time={project.createTime} />
                      </span>
                    </Link>
                  </li>
                ))}
              </ul>
            )
          }
        </Answer>
      </Panel>
      <Panel title="Integrations">
        <ul class="list">
          <li>
            <Link to={`/t/${id}/webhooks`} class="row" row>
              <span class="what">
                <strong>Webhooks</strong>
                <span class="quiet">Receivers that events are sent to, and what became of each delivery</span>
              </span>
            </Link>
          </li>
          <li>
            <Link to={`/t/${id}/connections`} class="row" row>
              <span class="what">
                <strong>Connections</strong>
                <span class="quiet">Systems that Freehold talks to, and whether that works</span>
              </span>
            </Link>
          </li>
        </ul>
      </Panel>
      <Panel title="Quotas">
        <Answer query={quotas}>
          {({ quotas: list }) => (
            <div class="quotas">
              {list.map((quota) => (
                <QuotaBar key={quota.name} quota={quota} />
              ))}
            </div>
          )}
        </Answer>
      </Panel>
    </Page>
  );
}
