import type { Deployment } from "@freehold/client/gen/freehold/deployments/v1/deployment_pb";
import { type DriftItem, DriftItemState } from "@freehold/client/gen/freehold/deployments/v1/drift_pb";
import { type Run, RunPhase } from "@freehold/client/gen/freehold/deployments/v1/run_pb";
import type { Quota } from "@freehold/client/gen/freehold/quotas/v1/quota_service_pb";

import { all, api, each, getRun } from "./api.js";
import { ms } from "./format.js";
import { verdict } from "./phases.js";

/** What needs somebody in one tenant. */
export interface Waiting {
  readonly approvals: Run[];
  readonly failed: Run[];
  readonly working: Run[];
  readonly drift: { deployment: string; items: DriftItem[] }[];
  readonly quotas: Quota[];
  readonly deployments: number;
}

/** Deployments whose newest run is looked at: those that were changed last. */
const LOOKED_AT = 120;
/** A quota is worth a word from here on. */
export const NEAR = 0.8;

/** Collects what needs somebody. */
export async function waiting(tenant: string): Promise<Waiting> {
  const [deployments, drift, quotas] = await Promise.all([deploymentsOf(tenant), driftOf(tenant), api.quotas.listQuotas({ parent: tenant })]);
  const newest = [...deployments].sort((a, b) => (ms(b.updateTime) ?? 0) - (ms(a.updateTime) ?? 0)).slice(0, LOOKED_AT);
  const names = new Set(newest.flatMap((deployment) => [deployment.lastRun, deployment.activeRun]).filter(Boolean));
  const runs = await each([...names], (name) => getRun(name));
  runs.sort((a, b) => (ms(b.updateTime) ?? 0) - (ms(a.updateTime) ?? 0));
  return {
    approvals: runs.filter((run) => run.phase === RunPhase.AWAITING_APPROVAL),
    failed: runs.filter((run) => verdict(run).tone === "bad"),
    working: runs.filter((run) => run.phase !== RunPhase.DONE && run.phase !== RunPhase.AWAITING_APPROVAL),
    drift,
    quotas: quotas.quotas.filter((quota) => share(quota) >= NEAR),
    deployments: deployments.length,
  };
}

/** How much of a quota is taken, from 0 on; 0 without a limit. */
export function share({ limit, used, reserved }: Pick<Quota, "limit" | "used" | "reserved">): number {
  if (limit === undefined) return 0;
  const taken = Number(used + reserved);
  return limit === 0n ? (taken > 0 ? 1 : 0) : taken / Number(limit);
}

/** The deployments of a tenant. The graph says which environments have some. */
async function deploymentsOf(tenant: string): Promise<Deployment[]> {
  const { dependencyGraph } = await api.deployments.getDependencyGraph({ parent: tenant });
  const environments = new Set((dependencyGraph?.nodes ?? []).map((node) => node.deployment.split("/").slice(0, 6).join("/")));
  const lists = await each([...environments], listDeployments);
  return lists.flat();
}

/** The deployments of an environment. */
export function listDeployments(parent: string): Promise<Deployment[]> {
  return all(async (pageToken) => {
    const page = await api.deployments.listDeployments({ parent, pageSize: 500, pageToken });
    return { items: page.deployments, nextPageToken: page.nextPageToken };
  });
}

async function driftOf(tenant: string): Promise<Waiting["drift"]> {
  const parent = `${tenant}/projects/-/environments/-/deployments/-`;
  const states = [DriftItemState.OPEN, DriftItemState.REOPENED];
  const { driftItems } = await api.drift.listDriftItems({ parent, states, pageSize: 500 });
  const found = new Map<string, DriftItem[]>();
  for (const item of driftItems) {
    const deployment = item.name.split("/").slice(0, 8).join("/");
    found.set(deployment, [...(found.get(deployment) ?? []), item]);
  }
  return [...found].map(([deployment, items]) => ({ deployment, items }));
}
