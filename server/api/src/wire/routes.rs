//! Which services a listener has.

use freehold_proto::{
    approvals::v1::{approval_policy_service_server::ApprovalPolicyServiceServer, receipt_service_server::ReceiptServiceServer},
    audit::v1::audit_service_server::AuditServiceServer,
    blueprints::v1::blueprint_service_server::BlueprintServiceServer,
    deployments::v1::{
        deployment_service_server::DeploymentServiceServer, drift_service_server::DriftServiceServer,
        run_service_server::RunServiceServer, state_service_server::StateServiceServer,
    },
    events::v1::event_service_server::EventServiceServer,
    iam::v1::{
        access_service_server::AccessServiceServer, api_key_service_server::ApiKeyServiceServer,
        service_account_service_server::ServiceAccountServiceServer, token_service_server::TokenServiceServer,
        user_service_server::UserServiceServer,
    },
    integrations::v1::{
        connection_account_service_server::ConnectionAccountServiceServer, connection_service_server::ConnectionServiceServer,
        notification_service_server::NotificationServiceServer, webhook_service_server::WebhookServiceServer,
    },
    meta::v1::server_info_service_server::ServerInfoServiceServer,
    operations::v1::operation_service_server::OperationServiceServer,
    quotas::v1::quota_service_server::QuotaServiceServer,
    runners::v1::{runner_pool_service_server::RunnerPoolServiceServer, runner_service_server::RunnerServiceServer},
    secrets::v1::secret_store_service_server::SecretStoreServiceServer,
    tenants::v1::{
        environment_service_server::EnvironmentServiceServer, project_service_server::ProjectServiceServer,
        tenant_service_server::TenantServiceServer,
    },
};
use tonic::service::Routes;

use super::Wire;
use crate::policy::Surface;

/// Largest message of a request: a blueprint of 1 MiB, with room for its names.
pub const MESSAGE: usize = 2 << 20;
/// Largest message of a runner: a plan with its state.
pub const RUNNER_MESSAGE: usize = 16 << 20;

macro_rules! services {
    ($wire:expr, $most:expr; $first:ident $(, $more:ident)* $(,)?) => {
        Routes::new($first::new($wire.clone()).max_decoding_message_size($most).max_encoding_message_size(RUNNER_MESSAGE))
            $(.add_service($more::new($wire.clone()).max_decoding_message_size($most).max_encoding_message_size(RUNNER_MESSAGE)))*
    };
}

impl Wire {
    /// The services of a listener: runners have one of their own, everybody else has the others.
    pub fn routes(&self, surface: Surface) -> Routes {
        match surface {
            Surface::Runner => services!(self, RUNNER_MESSAGE; RunnerServiceServer),
            Surface::State => services!(self, RUNNER_MESSAGE + MESSAGE; StateServiceServer, TokenServiceServer,),
            Surface::Admin => Routes::default(),
            Surface::Api | Surface::Web => services!(
                self, MESSAGE;
                AccessServiceServer,
                ApiKeyServiceServer,
                ApprovalPolicyServiceServer,
                AuditServiceServer,
                BlueprintServiceServer,
                ConnectionAccountServiceServer,
                ConnectionServiceServer,
                DeploymentServiceServer,
                DriftServiceServer,
                EnvironmentServiceServer,
                EventServiceServer,
                OperationServiceServer,
                ProjectServiceServer,
                QuotaServiceServer,
                ReceiptServiceServer,
                RunServiceServer,
                RunnerPoolServiceServer,
                SecretStoreServiceServer,
                ServerInfoServiceServer,
                ServiceAccountServiceServer,
                StateServiceServer,
                TenantServiceServer,
                TokenServiceServer,
                UserServiceServer,
                NotificationServiceServer,
                WebhookServiceServer,
            ),
        }
    }
}
