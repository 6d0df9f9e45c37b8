//! `Debug` of the messages that carry a secret: the name, and nothing of what is in them.

macro_rules! hidden {
    ($($message:ty),* $(,)?) => {$(
        impl std::fmt::Debug for $message {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($message), " { .. }"))
            }
        }
    )*};
}

hidden!(
    crate::deployments::v1::DownloadLateResultResponse,
    crate::deployments::v1::DownloadStateResponse,
    crate::deployments::v1::ImportStateRequest,
    crate::deployments::v1::WriteStateRequest,
    crate::iam::v1::AuthorizationCode,
    crate::iam::v1::CreateApiKeyResponse,
    crate::iam::v1::ExchangeTokenRequest,
    crate::iam::v1::ExchangeTokenResponse,
    crate::iam::v1::RevokeRefreshTokenRequest,
    crate::integrations::v1::Connection,
    crate::integrations::v1::InboundMessage,
    crate::integrations::v1::InvokeConnectionRequest,
    crate::integrations::v1::InvokeConnectionResponse,
    crate::integrations::v1::LinkAccountRequest,
    crate::integrations::v1::RotateConnectionCredentialsRequest,
    crate::runners::v1::ApplyResult,
    crate::runners::v1::CreateRegistrationTokenResponse,
    crate::runners::v1::Job,
    crate::runners::v1::JournalEntry,
    crate::runners::v1::PlanResult,
    crate::runners::v1::RegisterRunnerRequest,
    crate::runners::v1::ReportJobProgressRequest,
);
