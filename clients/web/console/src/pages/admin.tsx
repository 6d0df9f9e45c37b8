import { type Runner, RunnerState, type RunnerPool, SandboxLevel } from "@freehold/client/gen/freehold/runners/v1/runner_pool_service_pb";
import { TenantState } from "@freehold/client/gen/freehold/tenants/v1/tenant_pb";

import { all, api } from "../lib/api.js";
import { count, word } from "../lib/format.js";
import { lastPart, pathOf } from "../lib/names.js";
import { useQuery } from "../lib/query.js";
import { Link } from "../lib/router.jsx";
import type { Tone } from "../parts/icons.jsx";
import { Ago } from "../parts/times.jsx";
import { Answer, Badge, Empty, Fact, Page, Panel } from "../parts/ui.jsx";

const TONES: Partial<Record<RunnerState, Tone>> = {
  [RunnerState.ONLINE]: "good",
  [RunnerState.DRAINING]: "wait",
  [RunnerState.OFFLINE]: "bad",
};

/** Is the service well? */
export function Admin() {
  const info = useQuery("info", async () => (await api.serverInfo.getServerInfo({})).serverInfo);
  const pools = useQuery("pools", async () => (await api.runnerPools.listRunnerPools({ pageSize: 500 })).runnerPools, ["runnerPools"]);
  const tenants = useQuery("tenants", () =>
    all(async (pageToken) => {
      const page = await api.tenants.listTenants({ pageSize: 500, pageToken });
      return { items: page.tenants, nextPageToken: page.nextPageToken };
    }),
  );
  return (
    <Page title="Installation" actions={<Link to="/audit" class="button">Audit of the installation</Link>}>
      <Answer query={pools}>
        {(list) => (
          <>
            {list.map((pool) => (
              <Pool key={pool.name} pool={pool} />
            ))}
          </>
        )}
      </Answer>
      <Panel title="Tenants" note={tenants.data?.length}>
        <Answer query={tenants}>
          {(list) =>
            list.length === 0 ? (
              <Empty cli="freehold tenant create acme">There is no tenant yet.</Empty>
            ) : (
              <ul class="list">
                {list.map((tenant) => (
                  <li key={tenant.name}>
                    <Link to={pathOf(tenant.name) ?? "/"} class="row" row>
                      <span class="what">
                        <strong>{tenant.displayName || lastPart(tenant.name)}</strong>
                        <span class="quiet">{lastPart(tenant.name)}</span>
                      </span>
                      <Badge tone={tenant.state === TenantState.ACTIVE ? "good" : "bad"}>{word(TenantState, tenant.state)}</Badge>
                      <span class="when">
                        <Ago time={tenant.createTime} />
                      </span>
                    </Link>
                  </li>
                ))}
              </ul>
            )
          }
        </Answer>
      </Panel>
      <Panel title="Server">
        <Answer query={info} rows={2}>
          {(server) =>
            server && (
              <dl class="facts wide">
                <Fact name="Version">{server.version}</Fact>
                <Fact name="Installation">{server.installation}</Fact>
                <Fact name="Can do">{server.capabilities.join(", ") || "what the contract says"}</Fact>
                <Fact name="Its clock">
                  <Ago time={server.time} />
                </Fact>
              </dl>
            )
          }
        </Answer>
      </Panel>
    </Page>
  );
}

function Pool({ pool }: { pool: RunnerPool }) {
  const runners = useQuery(`runners:${pool.name}`, async () => (await api.runnerPools.listRunners({ parent: pool.name, pageSize: 500 })).runners, [pool.name]);
  const id = lastPart(pool.name);
  return (
    <Panel
      title={`Runners of ${pool.displayName || id}`}
      note={pool.requiredSandbox === SandboxLevel.ISOLATED ? "isolated only" : runners.data && count(runners.data.length, "runner")}
    >
      <Answer query={runners} rows={2}>
        {(list) =>
          list.length === 0 ? (
            <Empty cli={`freehold runner-pool token ${id}`}>No runner has joined, so runs of this pool wait. A token lets one join:</Empty>
          ) : (
            <div class="scroll" tabIndex={0} role="group" aria-label={`Runners of ${id}`}>
              <table>
                <thead>
                  <tr>
                    <th scope="col">Name</th>
                    <th scope="col">State</th>
                    <th scope="col" class="number">
                      Jobs
                    </th>
                    <th scope="col">Engines</th>
                    <th scope="col">Sandbox</th>
                    <th scope="col">Platform</th>
                    <th scope="col" class="number">
                      Heard of
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {list.map((runner) => (
                    <RunnerRow key={runner.name} runner={runner} />
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

function RunnerRow({ runner }: { runner: Runner }) {
  const engines = runner.engines.map((engine) => {
    const version = runner.engineVersions[engine] ?? "";
    return version.toLowerCase().startsWith(engine) ? version : `${engine} ${version}`.trim();
  });
  return (
    <tr>
      <th scope="row">{lastPart(runner.name)}</th>
      <td>
        <Badge tone={TONES[runner.state] ?? "idle"}>{word(RunnerState, runner.state)}</Badge>
      </td>
      <td class="number">
        {runner.running} of {runner.capacity}
      </td>
      <td>{engines.join(", ")}</td>
      <td title={runner.sandbox}>{runner.sandbox === "none" || !runner.sandbox ? "none" : "isolated"}</td>
      <td class="mono">{runner.platform}</td>
      <td class="number">
        <Ago time={runner.lastSeenTime} />
      </td>
    </tr>
  );
}
