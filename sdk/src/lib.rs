//! The client of Freehold, a self-hosted control plane in which tenants deploy reviewed infrastructure blueprints inside exact
//! quotas.
//!
//! ```no_run
//! use freehold::{Client, RunPhase};
//!
//! #[tokio::main]
//! async fn main() -> freehold::Result<()> {
//!     let freehold = Client::from_env().await?; // FREEHOLD_ENDPOINT, FREEHOLD_CA, FREEHOLD_CERT, FREEHOLD_KEY, FREEHOLD_TENANT
//!     freehold.deployments().create("shop/dev/web", "greeting@1.0.0").input("name", "world").send().await?;
//!     let run = freehold.runs().plan("shop/dev/web").send().await?.wait_until(RunPhase::AwaitingApproval).await?;
//!     println!("{}", run.plan().await?.summary());
//!     freehold.runs().approve(&run).send().await?.wait_done().await?.into_result()?;
//!     Ok(())
//! }
//! ```
//!
//! # How it reads
//! Every method returns a builder; nothing is sent before `send()`. Lists have `send()` for one page, `pages()` and `items()`
//! as streams, and `collect_up_to(n)`. Wherever a name is asked for, the short form does that leaves the tenant out: `shop` for
//! a project, `shop/dev` for an environment, `shop/dev/web` for a deployment, `greeting@1.0.0` for a blueprint version.
//!
//! # What it does by itself
//! - **Repeats.** Reads are repeated freely, writes under one request id, which makes that harmless, and calls with other
//!   effects only when they certainly did not start: five times at most, with growing random pauses, and never beyond the
//!   deadline of 30 seconds that every call has.
//! - **Servers.** Of several endpoints, one that fails is passed over for a while.
//! - **Credentials.** Certificates are read again when their files change; API keys are exchanged for short tokens in time.
//! - **Long work.** [`RunHandle`] waits and streams across broken connections and restarts of the server.
//!
//! # Errors
//! There is one [`Error`], with predicates and the contract's reason.
//!
//! # Tests
//! [`Client::from_stub`] puts a [`Stub`] in the server's place.
//!
//! # Features
//! `raw`: the module `raw` with the generated messages and clients, and `Client::raw` with the channel under them.

mod access;
mod api_keys;
mod approval_policies;
mod approvals;
mod audit;
mod blueprints;
mod call;
mod channel;
mod client;
mod codec;
mod connect;
mod connection_accounts;
mod connections;
mod connectors;
mod credentials;
mod dependencies;
mod deployments;
mod drift;
mod drift_policy;
mod environments;
mod error;
mod events;
mod explanation;
mod late_results;
mod list;
mod logs;
mod names;
mod notification_rules;
mod notifications;
mod operations;
mod plans;
mod pool;
mod projects;
mod quotas;
mod receipts;
mod retry;
mod run_handle;
mod runner_pools;
mod runs;
mod secret_stores;
mod server_info;
mod service_accounts;
mod state;
mod status;
mod steps;
mod streams;
mod stub;
mod teardown;
mod tenants;
mod tls;
mod token;
mod tokens;
mod users;
mod verify;
mod webhook_deliveries;
mod webhook_endpoints;
mod wire;

pub use access::{Access, CreateRoleBinding, DeleteRoleBinding, ListRoles, Role, RoleBinding};
pub use api_keys::{ApiKey, ApiKeys, CreateApiKey, NewApiKey, RevokeApiKey, Secret};
pub use approval_policies::{
    ApprovalPolicies, ApprovalPolicy, ApprovalRequirement, ApprovalRule, CreateApprovalPolicy, DeleteApprovalPolicy,
    GetApprovalPolicy, UpdateApprovalPolicy,
};
pub use approvals::{Approval, ApprovalDecision, ApprovalDemand};
pub use audit::{AuditDecision, AuditRecord, AuditRecords, GetAuditRecord};
pub use blueprints::{
    Blueprint, BlueprintChange, BlueprintChangeKind, BlueprintDiff, BlueprintDraft, BlueprintFile, BlueprintSource,
    BlueprintVersion, Blueprints, CreateBlueprint, DeleteBlueprint, Diagnostic, DiffBlueprintVersions, GetBlueprint,
    GetBlueprintDraft, GetBlueprintVersion, ImportBlueprintDraft, PublishBlueprintVersion, Severity, UpdateBlueprint,
    UpdateBlueprintDraft, ValidateBlueprint, VersionImpact, WrittenDraft,
};
pub use bytes::Bytes;
pub use client::{Client, ClientBuilder};
pub use connection_accounts::{ConnectionAccount, DeleteConnectionAccount, LinkAccount};
pub use connections::{
    BreakerState, Connection, ConnectionCheck, ConnectionHealth, ConnectionManager, ConnectionState, Connections,
    CreateConnection, CredentialSlot, DeleteConnection, DisableConnection, EnableConnection, GetConnection, GetInboundMessage,
    InboundMessage, InboundMessageState, Invocation, InvokeConnection, RotateConnectionCredentials, TestConnection,
    UpdateConnection,
};
pub use connectors::{
    Connector, CredentialSlotDescription, GetConnector, InboundDescription, ListConnectors, OperationDescription, OperationEffect,
};
pub use credentials::Credentials;
pub use dependencies::{DependencyEdge, DependencyGraph, DependencyNode, GetDependencyGraph, OutputBinding, RunDependency};
pub use deployments::{
    AbandonDeployment, Abandonment, CreateDeployment, DeleteDeployment, Deployment, DeploymentCondition, DeploymentConditionType,
    DeploymentState, Deployments, ExtendDeployment, GetDeployment, Revision, UpdateDeployment,
};
pub use drift::{
    AcceptDriftItem, AcknowledgeDriftItem, AssignDriftItem, CreateDriftException, DeleteDriftException, Drift, DriftCause,
    DriftCauseKind, DriftCheck, DriftClass, DriftException, DriftItem, DriftItemState, DriftMatcher, DriftState,
    GetDriftException, GetDriftItem, ListDriftItems,
};
pub use drift_policy::{DriftPolicy, DriftRemediation};
pub use environments::{
    CreateEnvironment, DeleteEnvironment, Environment, EnvironmentKind, Environments, GetEnvironment, UpdateEnvironment,
};
pub use error::{Code, Error, Result, Violation};
pub use events::{Event, Events, GetEventCursor, ListEvents, WatchEvents, Watched};
pub use explanation::{Blocker, BlockerKind, ExplainRun, RunExplanation};
pub use jiff::Timestamp;
pub use late_results::{DownloadLateResult, LateContent, LateResult, UnrecordedResource};
pub use list::{Answers, List, Page};
pub use logs::{LogLevel, LogLine};
pub use notification_rules::{
    CreateNotificationRule, DeleteNotificationRule, Escalation, GetNotificationRule, NotificationMessage, NotificationPreview,
    NotificationRule, NotificationRuleState, NotificationRules, PreviewNotificationRule, QuietHours, StateChange,
    UpdateNotificationRule,
};
pub use notifications::{
    AcknowledgeNotification, GetNotification, ListNotifications, Notification, NotificationAlarm, NotificationSend,
    NotificationSendState, RetryNotification,
};
pub use operations::{GetOperation, Operation, OperationError, Operations};
pub use plans::{AttributeChange, ChangeAction, OutputChange, PlanBinding, PlanSummary, ResourceChange, Reversibility, RunPlan};
pub use projects::{CreateProject, DeleteProject, GetProject, Project, Projects, UpdateProject};
pub use quotas::{
    Dimension, GetQuota, ListQuotas, Quota, Quotas, Recount, RecountQuota, Reservation, ReservationState, SetQuotaLimit,
};
pub use receipts::{ListReceiptKeys, ListRunReceipts, Receipt, ReceiptKey, ReceiptKind, Receipts, RotateReceiptKey};
pub use run_handle::RunHandle;
pub use runner_pools::{
    CreateRegistrationToken, CreateRunnerPool, DeleteRunner, DrainRunner, GetRunnerPool, NewRegistrationToken, RegistrationToken,
    ResumeRunner, RevokeRegistrationToken, Runner, RunnerPool, RunnerPools, RunnerState, SandboxLevel, UpdateRunnerPool,
};
pub use runs::{
    ApplyRun, ApproveRun, CancelRun, DestroyDeployment, DetectDrift, GetRun, GetRunPlan, PlanDeployment, RejectRun, RestoreState,
    RollbackDeployment, Run, RunError, RunKind, RunOutcome, RunPhase, Runs, WaitingOn, WaitingReason, WithdrawApproval,
};
pub use secret_stores::{
    CreateSecretStore, DeleteSecretStore, GetSecretStore, SecretDriver, SecretRef, SecretStore, SecretStores, UpdateSecretStore,
};
pub use server_info::{GetServerInfo, ServerInfo};
pub use service_accounts::{
    CreateServiceAccount, CreateWorkloadIdentity, DeleteServiceAccount, DeleteWorkloadIdentity, GetServiceAccount,
    ServiceAccount, ServiceAccounts, WorkloadIdentity,
};
pub use state::{
    BreakStateLock, BrokenLock, DeploymentOutput, DownloadState, GetResourceGraph, GetStateVersion, GraphFormat, ImportState,
    ListOutputs, LockState, ManagedResource, State, StateLock, StateVersion, UnlockState, WriteState,
};
pub use steps::{RunStep, StepState};
pub use stub::Stub;
pub use teardown::DestroyEnvironment;
pub use tenants::{
    CreateTenant, DeleteTenant, GetTenant, ResumeTenant, SuspendTenant, Tenant, TenantState, Tenants, UpdateTenant,
};
pub use tokens::{CallerIdentity, GetCallerIdentity, GetSignInOptions, IdentityProof, RevokeRefreshToken, SignInOptions};
pub use users::{DeactivateUser, DeleteUser, GetUser, InviteUser, UnlinkUserIdentity, User, UserIdentity, UserState, Users};
pub use verify::{ReceiptApproval, ReceiptDemand, ReceiptEnd, ReceiptPlan, VerifiedReceipt, verify_receipts};
pub use webhook_deliveries::{
    GetWebhookDelivery, ListWebhookDeliveries, RedeliverWebhook, WebhookAttempt, WebhookDelivery, WebhookDeliveryState,
};
pub use webhook_endpoints::{
    CreateWebhookEndpoint, DeleteWebhookEndpoint, GetWebhookEndpoint, NewWebhookSecret, RotateWebhookSecret, SendTestWebhook,
    UpdateWebhookEndpoint, WebhookEndpoint, WebhookEndpointState, Webhooks,
};

/// The contract and the channel, for methods that this crate has no words for yet. What is in here follows the generated code
/// and the transport below, and changes with them.
#[cfg(feature = "raw")]
pub mod raw {
    pub use freehold_proto as proto;
    pub use tonic;

    pub use crate::channel::RawChannel;
    use crate::{Error, status};

    /// Reads what a generated client failed with.
    pub fn error(status: tonic::Status) -> Error {
        status::from_status(status)
    }
}
