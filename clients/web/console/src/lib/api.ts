import { AuditService } from "@freehold/client/gen/freehold/audit/v1/audit_service_pb";
import { BlueprintService } from "@freehold/client/gen/freehold/blueprints/v1/blueprint_service_pb";
import { DeploymentService } from "@freehold/client/gen/freehold/deployments/v1/deployment_service_pb";
import { DriftService } from "@freehold/client/gen/freehold/deployments/v1/drift_service_pb";
import { type Run, RunPhase } from "@freehold/client/gen/freehold/deployments/v1/run_pb";
import { RunService } from "@freehold/client/gen/freehold/deployments/v1/run_service_pb";
import { StateService } from "@freehold/client/gen/freehold/deployments/v1/state_service_pb";
import { ConnectionService } from "@freehold/client/gen/freehold/integrations/v1/connection_service_pb";
import { WebhookService } from "@freehold/client/gen/freehold/integrations/v1/webhook_service_pb";
import { ServerInfoService } from "@freehold/client/gen/freehold/meta/v1/server_info_service_pb";
import { QuotaService } from "@freehold/client/gen/freehold/quotas/v1/quota_service_pb";
import { RunnerPoolService } from "@freehold/client/gen/freehold/runners/v1/runner_pool_service_pb";
import { EnvironmentService } from "@freehold/client/gen/freehold/tenants/v1/environment_service_pb";
import { ProjectService } from "@freehold/client/gen/freehold/tenants/v1/project_service_pb";
import { TenantService } from "@freehold/client/gen/freehold/tenants/v1/tenant_service_pb";

import { freehold } from "./session.js";

/** The services that the console uses; what is not named here is not loaded. */
export const api = {
  audit: freehold.client(AuditService),
  blueprints: freehold.client(BlueprintService),
  connections: freehold.client(ConnectionService),
  deployments: freehold.client(DeploymentService),
  drift: freehold.client(DriftService),
  environments: freehold.client(EnvironmentService),
  projects: freehold.client(ProjectService),
  quotas: freehold.client(QuotaService),
  runnerPools: freehold.client(RunnerPoolService),
  runs: freehold.client(RunService),
  serverInfo: freehold.client(ServerInfoService),
  state: freehold.client(StateService),
  tenants: freehold.client(TenantService),
  webhooks: freehold.client(WebhookService),
};

/** All pages of a list, up to a number of items that a page can still show. */
export async function all<T>(page: (pageToken: string) => Promise<{ nextPageToken: string; items: T[] }>, most = 2_000): Promise<T[]> {
  const found: T[] = [];
  for (let token = ""; ; ) {
    const { items, nextPageToken } = await page(token);
    found.push(...items);
    if (nextPageToken === "" || found.length >= most) return found;
    token = nextPageToken;
  }
}

/** Asks for each, a few at a time; one that fails is left out. */
export async function each<T, R>(items: readonly T[], ask: (item: T) => Promise<R>, together = 6): Promise<R[]> {
  const found: (R | undefined)[] = Array.from({ length: items.length });
  let next = 0;
  const worker = async () => {
    for (let at = next++; at < items.length; at = next++) {
      const item = items[at] as T;
      found[at] = await ask(item).catch(() => undefined);
    }
  };
  await Promise.all(Array.from({ length: Math.min(together, items.length) }, worker));
  return found.filter((answer) => answer !== undefined);
}

/** Runs that have ended do not change any more. */
const ended = new Map<string, Run>();

/** A run, by its name. */
export async function getRun(name: string, signal?: AbortSignal): Promise<Run> {
  const known = ended.get(name);
  if (known) return known;
  const { run } = await api.runs.getRun({ name }, signal ? { signal } : {});
  if (!run) throw new Error("the server answered without a run");
  if (run.phase === RunPhase.DONE) {
    ended.set(name, run);
    const [oldest] = ended.keys();
    if (ended.size > 500 && oldest !== undefined) ended.delete(oldest);
  }
  return run;
}

/** Forgets all runs, for the next person. */
export function forgetRuns(): void {
  ended.clear();
}

/** The answer of a call that has to have it. */
export function given<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the server's answer is empty");
  return value;
}
