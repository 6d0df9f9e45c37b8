import { useEffect } from "preact/hooks";

import { lastPart, pathOf, shortName } from "../lib/names.js";
import { all, api } from "../lib/api.js";
import { count } from "../lib/format.js";
import { useQuery } from "../lib/query.js";
import { Link } from "../lib/router.jsx";
import type { Session } from "../lib/session.js";
import { useStore } from "../lib/store.js";
import { chooseTenant, currentTenant } from "../lib/tenant.js";
import { type Waiting, waiting } from "../lib/waiting.js";
import { Icon } from "../parts/icons.jsx";
import { QuotaBar } from "../parts/quota.jsx";
import { RunList } from "../parts/runs.jsx";
import { Ago } from "../parts/times.jsx";
import { Answer, Badge, Empty, Page, Panel } from "../parts/ui.jsx";

/** What needs me? */
export function Home({ session }: { session: Session }) {
  const chosen = useStore(currentTenant);
  const platform = session.tenant === "";
  const tenants = useQuery(platform ? "tenants" : undefined, () =>
    all(async (pageToken) => {
      const page = await api.tenants.listTenants({ pageSize: 500, pageToken });
      return { items: page.tenants, nextPageToken: page.nextPageToken };
    }),
  );
  const known = tenants.data?.map((tenant) => lastPart(tenant.name)) ?? [];
  // People of the installation see the tenant that they looked at last, or the first one.
  const tenant = platform ? (known.includes(chosen) ? chosen : known[0]) : session.tenant;
  // The places beside the page are those of this tenant from then on.
  useEffect(() => {
    if (tenant) chooseTenant(tenant);
  }, [tenant]);
  const name = tenant ? `tenants/${tenant}` : undefined;
  const query = useQuery(name && `waiting:${name}`, () => waiting(name ?? ""), name ? [name] : []);
  return (
    <Page
      title="Home"
      actions={
        tenant && (
          <Link to={`/t/${tenant}/deploy`} class="button primary">
            <Icon name="plus" /> Deploy
          </Link>
        )
      }
    >
      {platform && (
        <Answer query={tenants} rows={1}>
          {(list) =>
            list.length === 0 ? (
              <Empty cli="freehold tenant create acme">Nothing is here yet. A tenant is a team or a customer with its own projects, people and quotas.</Empty>
            ) : list.length > 1 ? (
              <nav class="pills" aria-label="Tenants">
                {list.map((one) => (
                  <button
                    key={one.name}
                    type="button"
                    aria-pressed={lastPart(one.name) === tenant}
                    onClick={() => chooseTenant(lastPart(one.name))}
                  >
                    {one.displayName || lastPart(one.name)}
                  </button>
                ))}
              </nav>
            ) : null
          }
        </Answer>
      )}
      {name && <Answer query={query}>{(data) => <Needs data={data} tenant={name} />}</Answer>}
    </Page>
  );
}

function Needs({ data, tenant }: { data: Waiting; tenant: string }) {
  const { approvals, failed, working, drift, quotas } = data;
  const nothing = approvals.length + failed.length + drift.length + quotas.length === 0;
  return (
    <>
      {nothing && (
        <section class="calm" aria-label="Nothing waits">
          <Badge tone="good">Nothing waits for you</Badge>
          <p>
            No approval, no failed run, no drift, and no quota near its limit in <Link to={pathOf(tenant) ?? "/"}>{lastPart(tenant)}</Link>, which has{" "}
            {count(data.deployments, "deployment")}.
          </p>
        </section>
      )}
      {approvals.length > 0 && (
        <Panel title="Waiting for a decision" note={approvals.length}>
          <RunList runs={approvals} />
        </Panel>
      )}
      {failed.length > 0 && (
        <Panel title="Failed" note={failed.length}>
          <RunList runs={failed} />
        </Panel>
      )}
      {drift.length > 0 && (
        <Panel title="Not as it was made" note={drift.length}>
          <ul class="list">
            {drift.map(({ deployment, items }) => (
              <li key={deployment}>
                <Link to={`${pathOf(deployment)}?tab=drift`} class="row" row>
                  <span class="what">
                    <strong>{shortName(deployment)}</strong>
                    <span class="quiet">{[...new Set(items.map((item) => item.address))].slice(0, 4).join(", ")}</span>
                  </span>
                  <Badge tone="wait">{count(items.length, "difference")}</Badge>
                  <span class="when">
                    <Ago time={items[0]?.firstSeenTime} />
                  </span>
                </Link>
              </li>
            ))}
          </ul>
        </Panel>
      )}
      {quotas.length > 0 && (
        <Panel title="Quotas near their limit" note={quotas.length}>
          <div class="quotas">
            {quotas.map((quota) => (
              <QuotaBar key={quota.name} quota={quota} />
            ))}
          </div>
        </Panel>
      )}
      {working.length > 0 && (
        <Panel title="Under way" note={working.length}>
          <RunList runs={working} />
        </Panel>
      )}
    </>
  );
}
