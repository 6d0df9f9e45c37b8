import type { DescService } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";

import { type ConnectOptions, type Connection, connect } from "./connection.js";
import { ApprovalPolicyService } from "./gen/freehold/approvals/v1/approval_policy_service_pb.js";
import { ReceiptService } from "./gen/freehold/approvals/v1/receipt_service_pb.js";
import { AuditService } from "./gen/freehold/audit/v1/audit_service_pb.js";
import { BlueprintService } from "./gen/freehold/blueprints/v1/blueprint_service_pb.js";
import { DeploymentService } from "./gen/freehold/deployments/v1/deployment_service_pb.js";
import { DriftService } from "./gen/freehold/deployments/v1/drift_service_pb.js";
import { RunService } from "./gen/freehold/deployments/v1/run_service_pb.js";
import { StateService } from "./gen/freehold/deployments/v1/state_service_pb.js";
import { EventService } from "./gen/freehold/events/v1/event_service_pb.js";
import { AccessService } from "./gen/freehold/iam/v1/access_service_pb.js";
import { ApiKeyService } from "./gen/freehold/iam/v1/api_key_service_pb.js";
import { ServiceAccountService } from "./gen/freehold/iam/v1/service_account_service_pb.js";
import { TokenService } from "./gen/freehold/iam/v1/token_service_pb.js";
import { UserService } from "./gen/freehold/iam/v1/user_service_pb.js";
import { ConnectionAccountService } from "./gen/freehold/integrations/v1/connection_account_service_pb.js";
import { ConnectionService } from "./gen/freehold/integrations/v1/connection_service_pb.js";
import { NotificationService } from "./gen/freehold/integrations/v1/notification_service_pb.js";
import { WebhookService } from "./gen/freehold/integrations/v1/webhook_service_pb.js";
import { ServerInfoService } from "./gen/freehold/meta/v1/server_info_service_pb.js";
import { OperationService } from "./gen/freehold/operations/v1/operation_service_pb.js";
import { QuotaService } from "./gen/freehold/quotas/v1/quota_service_pb.js";
import { RunnerPoolService } from "./gen/freehold/runners/v1/runner_pool_service_pb.js";
import { SecretStoreService } from "./gen/freehold/secrets/v1/secret_store_service_pb.js";
import { EnvironmentService } from "./gen/freehold/tenants/v1/environment_service_pb.js";
import { ProjectService } from "./gen/freehold/tenants/v1/project_service_pb.js";
import { TenantService } from "./gen/freehold/tenants/v1/tenant_service_pb.js";
import type { WatchItem, WatchOptions } from "./watch.js";

/** Made before the clients of services are. */
class Installation {
  /** What it is made of, for other services and other clients of connect-es. */
  readonly connection: Connection;

  constructor(options: ConnectOptions = {}) {
    this.connection = connect(options);
  }

  /** What happens, in order; see `watch`. */
  watch(options?: WatchOptions): AsyncGenerator<WatchItem, void, undefined> {
    return this.connection.watch(options);
  }

  protected of<T extends DescService>(service: T): Client<T> {
    return this.connection.client(service);
  }
}

/**
 * All of an installation: a client for each service, and what happens in it.
 *
 * ```ts
 * const freehold = new Freehold({ baseUrl: "https://freehold.example:7444", apiKey });
 * const { run } = await freehold.runs.planDeployment({ name: "tenants/acme/projects/shop/environments/dev/deployments/web" });
 * ```
 *
 * Calls throw `FreeholdError`. Writes have request ids, and what was not answered is asked again.
 */
export class Freehold extends Installation {
  readonly access = this.of(AccessService);
  readonly apiKeys = this.of(ApiKeyService);
  readonly approvalPolicies = this.of(ApprovalPolicyService);
  readonly secretStores = this.of(SecretStoreService);
  readonly audit = this.of(AuditService);
  readonly blueprints = this.of(BlueprintService);
  readonly connectionAccounts = this.of(ConnectionAccountService);
  readonly connections = this.of(ConnectionService);
  readonly deployments = this.of(DeploymentService);
  readonly drift = this.of(DriftService);
  readonly environments = this.of(EnvironmentService);
  readonly events = this.of(EventService);
  readonly notifications = this.of(NotificationService);
  readonly operations = this.of(OperationService);
  readonly projects = this.of(ProjectService);
  readonly quotas = this.of(QuotaService);
  readonly receipts = this.of(ReceiptService);
  readonly runnerPools = this.of(RunnerPoolService);
  readonly runs = this.of(RunService);
  readonly serverInfo = this.of(ServerInfoService);
  readonly serviceAccounts = this.of(ServiceAccountService);
  readonly state = this.of(StateService);
  readonly tenants = this.of(TenantService);
  readonly tokens = this.of(TokenService);
  readonly users = this.of(UserService);
  readonly webhooks = this.of(WebhookService);
}
