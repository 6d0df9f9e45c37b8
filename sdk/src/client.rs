//! The client and how it is set up.

use std::{env, fmt, sync::Arc, time::Duration};

use http::HeaderValue;

#[cfg(feature = "raw")]
use crate::channel::RawChannel;
use crate::{
    Credentials, Error, Stub, Violation,
    access::Access,
    api_keys::ApiKeys,
    approval_policies::ApprovalPolicies,
    audit::AuditRecords,
    blueprints::Blueprints,
    call::Core,
    channel::Wire,
    connections::Connections,
    deployments::Deployments,
    drift::Drift,
    environments::Environments,
    error::Result,
    events::Events,
    notification_rules::NotificationRules,
    operations::Operations,
    pool::Pool,
    projects::Projects,
    quotas::Quotas,
    receipts::Receipts,
    retry::Policy,
    runner_pools::RunnerPools,
    runs::Runs,
    secret_stores::SecretStores,
    server_info::GetServerInfo,
    service_accounts::ServiceAccounts,
    state::State,
    stub::Stubbed,
    tenants::Tenants,
    token::Tokens,
    tokens::{GetCallerIdentity, GetSignInOptions, RevokeRefreshToken},
    users::Users,
    webhook_endpoints::Webhooks,
};

const DEADLINE: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one Freehold installation. Clones are cheap and share their connections.
///
/// ```no_run
/// # async fn example() -> freehold::Result<()> {
/// use freehold::{Client, Credentials};
///
/// let freehold = Client::builder("https://freehold.example:7443")
///     .credentials(Credentials::new().ca_file("ca.pem").certificate_files("client.pem", "client.key"))
///     .tenant("acme")
///     .build()
///     .await?;
/// println!("{}", freehold.whoami().send().await?.principal);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    core: Arc<Core>,
    /// Absent over a stub.
    wire: Option<Arc<Wire>>,
}

impl Client {
    /// Starts setting up a client of this server: `https://host:port`, several of them separated by commas.
    ///
    /// With several, calls stay on one that works; one that fails is passed over for a while.
    pub fn builder(endpoint: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            endpoints: vec![endpoint.into()],
            credentials: Credentials::new(),
            tenant: None,
            deadline: DEADLINE,
            connect_timeout: CONNECT_TIMEOUT,
        }
    }

    /// A client as the environment says: `FREEHOLD_ENDPOINT`, `FREEHOLD_TENANT`, and what [`Credentials::from_env`] reads.
    ///
    /// # Errors
    /// [`Error::is_invalid_argument`], naming what is missing or contradicts itself.
    pub async fn from_env() -> Result<Self> {
        let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let mut builder = Self::builder(set("FREEHOLD_ENDPOINT").unwrap_or_default()).credentials(Credentials::from_env()?);
        if let Some(tenant) = set("FREEHOLD_TENANT") {
            builder = builder.tenant(tenant);
        }
        builder.build().await
    }

    /// A client whose calls a stub answers, for tests; `tenant` is the one that short names belong to.
    pub fn from_stub(stub: impl Stub + 'static, tenant: impl Into<String>) -> Self {
        let transport = Box::new(Stubbed(Box::new(stub)));
        let core = Core { transport, tenant: Some(tenant.into()), deadline: DEADLINE, policy: Policy::default() };
        Self { core: Arc::new(core), wire: None }
    }

    #[cfg(test)]
    pub(crate) fn core(&self) -> Arc<Core> {
        self.core.clone()
    }

    /// The tenant that short names belong to.
    pub fn tenant(&self) -> Option<&str> {
        self.core.tenant.as_deref()
    }

    /// The channel itself, for generated clients of methods that this crate has no words for yet.
    ///
    /// Absent over a stub.
    #[cfg(feature = "raw")]
    pub fn raw(&self) -> Option<RawChannel> {
        self.wire.clone().map(|wire| RawChannel { wire, retries: true })
    }

    /// Tenants, for platform administrators.
    pub fn tenants(&self) -> Tenants {
        Tenants::new(self.core.clone())
    }

    /// Projects.
    pub fn projects(&self) -> Projects {
        Projects::new(self.core.clone())
    }

    /// Environments of projects.
    pub fn environments(&self) -> Environments {
        Environments::new(self.core.clone())
    }

    /// Quotas and what is put aside of them.
    pub fn quotas(&self) -> Quotas {
        Quotas::new(self.core.clone())
    }

    /// People.
    pub fn users(&self) -> Users {
        Users::new(self.core.clone())
    }

    /// Programs and their certificate identities.
    pub fn service_accounts(&self) -> ServiceAccounts {
        ServiceAccounts::new(self.core.clone())
    }

    /// API keys.
    pub fn api_keys(&self) -> ApiKeys {
        ApiKeys::new(self.core.clone())
    }

    /// Roles and who has them.
    pub fn access(&self) -> Access {
        Access::new(self.core.clone())
    }

    /// Blueprints, their drafts and versions.
    pub fn blueprints(&self) -> Blueprints {
        Blueprints::new(self.core.clone())
    }

    /// Deployments.
    pub fn deployments(&self) -> Deployments {
        Deployments::new(self.core.clone())
    }

    /// Runs of deployments.
    pub fn runs(&self) -> Runs {
        Runs::new(self.core.clone())
    }

    /// What is not as it was made, and what becomes of it.
    pub fn drift(&self) -> Drift {
        Drift::new(self.core.clone())
    }

    /// State and outputs of deployments.
    pub fn state(&self) -> State {
        State::new(self.core.clone())
    }

    /// Runner pools and their runners, for platform administrators.
    pub fn runner_pools(&self) -> RunnerPools {
        RunnerPools::new(self.core.clone())
    }

    /// Rules on whose approval plans need.
    pub fn approval_policies(&self) -> ApprovalPolicies {
        ApprovalPolicies::new(self.core.clone())
    }

    /// Stores of secrets that inputs name secrets in.
    pub fn secret_stores(&self) -> SecretStores {
        SecretStores::new(self.core.clone())
    }

    /// Connections to other systems.
    pub fn connections(&self) -> Connections {
        Connections::new(self.core.clone())
    }

    /// Signed receipts of what was approved and applied, and the keys to check them with.
    pub fn receipts(&self) -> Receipts {
        Receipts::new(self.core.clone())
    }

    /// What happens.
    pub fn events(&self) -> Events {
        Events::new(self.core.clone())
    }

    /// Receivers of events over HTTP.
    pub fn webhooks(&self) -> Webhooks {
        Webhooks::new(self.core.clone())
    }

    /// Rules on who is told what of what happens, and what they were told.
    pub fn notification_rules(&self) -> NotificationRules {
        NotificationRules::new(self.core.clone())
    }

    /// The audit trail.
    pub fn audit(&self) -> AuditRecords {
        AuditRecords::new(self.core.clone())
    }

    /// Long work that is not a run.
    pub fn operations(&self) -> Operations {
        Operations::new(self.core.clone())
    }

    /// Asks who is calling, and by what proof.
    pub fn whoami(&self) -> GetCallerIdentity {
        GetCallerIdentity::new(&self.core)
    }

    /// Asks how people sign in besides by an API key; nothing when there is no identity provider. Needs no credentials.
    pub fn sign_in_options(&self) -> GetSignInOptions {
        GetSignInOptions::new(&self.core)
    }

    /// Ends a sign-in of a browser, by the refresh token that it was given. Needs no credentials.
    pub fn revoke_refresh_token(&self, refresh_token: impl Into<String>) -> RevokeRefreshToken {
        RevokeRefreshToken::new(&self.core, refresh_token.into())
    }

    /// Asks for version, limits and capabilities of the server; needs no credentials.
    pub fn server_info(&self) -> GetServerInfo {
        GetServerInfo::new(&self.core)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("tenant", &self.core.tenant).field("stub", &self.wire.is_none()).finish_non_exhaustive()
    }
}

/// Sets up a [`Client`].
#[must_use = "there is no client before `build`"]
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    endpoints: Vec<String>,
    credentials: Credentials,
    tenant: Option<String>,
    deadline: Duration,
    connect_timeout: Duration,
}

impl ClientBuilder {
    /// Adds another server of the same installation.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoints.push(endpoint.into());
        self
    }

    /// How to prove who is calling, and whom to believe.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// The tenant that short names belong to, by its id: `acme`.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// How long a call may take that is given no deadline of its own, repeats included; 30 seconds if not said.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a connection may take to be made; 10 seconds if not said.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Reads the credentials and makes the client. Connections are made when they are first needed, so that a server that is
    /// away is not an error here.
    ///
    /// # Errors
    /// [`Error::is_invalid_argument`] for an endpoint that is none, for certificates that cannot be read or do not belong
    /// together, and for a token that would be sent in the clear.
    pub async fn build(self) -> Result<Client> {
        let tenant = self.tenant.map(|tenant| tenant.strip_prefix("tenants/").map(str::to_owned).unwrap_or(tenant));
        let header = tenant.as_deref().map(tenant_header).transpose()?;
        let tokens = self.credentials.token.as_ref().map(Tokens::new).transpose()?;
        let pool = Pool::new(&self.endpoints, &self.credentials, self.connect_timeout)?;
        let policy = Policy::default();
        let wire = Arc::new(Wire { pool, tokens, tenant: header, deadline: self.deadline, policy });
        let core = Core { transport: Box::new(wire.clone()), tenant, deadline: self.deadline, policy };
        Ok(Client { core: Arc::new(core), wire: Some(wire) })
    }
}

fn tenant_header(tenant: &str) -> Result<HeaderValue> {
    let valid = !tenant.is_empty() && !tenant.contains('/');
    let header = HeaderValue::from_str(tenant).ok().filter(|_| valid);
    header.ok_or_else(|| {
        Error::invalid(vec![Violation::new("tenant", format!("`{tenant}` is not the id of a tenant, like `acme`"))])
    })
}
