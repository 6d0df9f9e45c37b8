//! What every use case works with, and the one door into a tenant.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use freehold_domain::{
    Error, Result,
    access::{Caller, Grant, Principal, TenantScope},
    console::Console,
    names::{RunnerName, ServiceAccountName, TenantName},
    network::AddressPolicy,
    quotas::Dimension,
    registration::Certificate,
    tenants::{Tenant, TenantState},
    time::{Clock, Random, Timestamp, Uid},
};
use freehold_store::{RequestKey, Session, Store, Tx, payloads};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::{
    audit::Denials,
    cache::Recent,
    chat::Chat,
    connectors::Connectors,
    events::Feed,
    fan_out::FanOut,
    looks::Looks,
    metrics::Metrics,
    notifications::Notifications,
    seal::{DataKey, MasterKey, SealedPlace},
    sign_in::IdentityProvider,
    wakeups::Wakeups,
    webhook_deliveries::{Deliveries, WebhookSender},
};

/// How long a change of tenants, roles and keys may take to reach other replicas. In this one it is at once.
pub const ACCESS_CACHE: Duration = Duration::from_secs(5);

/// What an [`App`] is made of.
pub struct AppSettings {
    /// The database.
    pub store: Store,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Draws identities and secrets.
    pub random: Arc<dyn Random>,
    /// Wraps the tenants' keys.
    pub master_key: MasterKey,
    /// Trust domain of the identities of this installation.
    pub trust_domain: String,
    /// How long a runner's lease lasts after each extension.
    pub lease: Duration,
    /// Checks blueprints against the engines that exist.
    pub validators: Vec<Arc<dyn Validator>>,
    /// Signs certificates of runners, where the server has an authority.
    pub issuer: Option<Arc<dyn Issuer>>,
    /// Sends deliveries.
    pub webhooks: Arc<dyn WebhookSender>,
    /// Where tenants may have something sent.
    pub address_policy: AddressPolicy,
    /// Talks to other systems.
    pub connectors: Arc<dyn Connectors>,
    /// Where people look at all of this.
    pub console: Console,
    /// Knows people, where there is one.
    pub identity_provider: Option<Arc<dyn IdentityProvider>>,
}

/// Signs certificates of runners.
pub trait Issuer: Send + Sync + 'static {
    /// SHA-256 in hex of the key that a request of a certificate (PKCS #10, in PEM) is about.
    ///
    /// # Errors
    /// `FIELD_INVALID` when it is none, is not signed by that key, or asks for more than the identity of this runner.
    fn key_digest(&self, request: &str, runner: &RunnerName) -> Result<String>;

    /// Signs the key of a request, for this runner and for so long. Blocks.
    ///
    /// # Errors
    /// As for the digest, and when the authority cannot sign.
    fn issue(&self, request: &str, runner: &RunnerName, life: Duration) -> Result<Certificate>;
}

/// Checks what only an engine knows of a blueprint: its resource types.
pub trait Validator: Send + Sync + 'static {
    /// Name of the engine.
    fn engine(&self) -> &'static str;
    /// Whether its blueprints name a module instead of resources.
    fn runs_modules(&self) -> bool;
    /// What there is to mend.
    fn validate(&self, document: &freehold_domain::blueprints::Document) -> Vec<freehold_domain::blueprints::Diagnostic>;
}

/// The service.
pub struct App {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) master_key: MasterKey,
    pub(crate) trust_domain: String,
    pub(crate) lease: Duration,
    pub(crate) validators: Vec<Arc<dyn Validator>>,
    pub(crate) issuer: Option<Arc<dyn Issuer>>,
    pub(crate) webhooks: Arc<dyn WebhookSender>,
    pub(crate) address_policy: AddressPolicy,
    pub(crate) deliveries: Deliveries,
    pub(crate) fan_out: FanOut,
    pub(crate) notifications: Notifications,
    pub(crate) connectors: Arc<dyn Connectors>,
    pub(crate) console: Console,
    pub(crate) identity_provider: Option<Arc<dyn IdentityProvider>>,
    pub(crate) chat: Chat,
    /// Whether a runner was removed for good.
    pub(crate) removed_runners: Recent<RunnerName, bool>,
    pub(crate) wakeups: Wakeups,
    pub(crate) looks: Looks,
    pub(crate) feed: Feed,
    pub(crate) metrics: Metrics,
    pub(crate) parsed: crate::blueprints::Parsed,
    /// Drafts that are being fetched.
    pub(crate) imports: Semaphore,
    tenants: Mutex<HashMap<TenantName, (Instant, Place)>>,
    /// Roles of those who may sign in.
    pub(crate) grants: Recent<Principal, Vec<Grant>>,
    /// Service accounts by the SPIFFE ids that they answer to.
    pub(crate) identities: Recent<String, ServiceAccountName>,
    pub(crate) denials: Denials,
    calls: Mutex<HashMap<TenantScope, Block>>,
}

/// Calls of a day that this replica has taken from the quota and not used yet.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    day: i64,
    left: i64,
}

/// A tenant that a caller has entered.
#[derive(Clone)]
pub struct Place {
    /// The tenant, as it was within [`ACCESS_CACHE`].
    pub tenant: Arc<Tenant>,
    /// Key of its rows.
    pub scope: TenantScope,
    /// Seals what belongs to it.
    pub key: Arc<DataKey>,
}

/// How a write is meant.
#[derive(Clone, Debug)]
pub struct Write {
    /// Makes a repeat harmless.
    pub key: RequestKey,
    /// Checks everything and changes nothing.
    pub validate_only: bool,
    /// The version that the writer has seen.
    pub etag: Option<String>,
}

impl App {
    /// The service on an opened store.
    pub fn new(settings: AppSettings) -> Self {
        let AppSettings {
            store,
            clock,
            random,
            master_key,
            trust_domain,
            lease,
            validators,
            issuer,
            webhooks,
            address_policy,
            connectors,
            console,
            identity_provider,
        } = settings;
        let feed = Feed::default();
        Self {
            store,
            clock,
            random,
            master_key,
            trust_domain,
            lease,
            validators,
            issuer,
            webhooks,
            address_policy,
            deliveries: Deliveries::default(),
            fan_out: FanOut::of(&feed),
            notifications: Notifications::default(),
            connectors,
            console,
            identity_provider,
            chat: Chat::default(),
            removed_runners: Recent::new(),
            wakeups: Wakeups::new(),
            looks: Looks::default(),
            feed,
            metrics: Metrics::new(),
            parsed: crate::blueprints::Parsed::default(),
            imports: Semaphore::new(crate::blueprints::AT_ONCE),
            tenants: Mutex::default(),
            grants: Recent::new(),
            identities: Recent::new(),
            denials: Denials::default(),
            calls: Mutex::default(),
        }
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Trust domain of the identities of this installation.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Ends all waits for runs, operations and work, now and from now on: each answers what it would at its end, and whoever asked
    /// asks again, elsewhere.
    pub fn drain(&self) {
        self.wakeups.close();
    }

    /// Whether [`drain`](Self::drain) was called.
    pub(crate) fn is_draining(&self) -> bool {
        self.wakeups.is_closed()
    }

    /// Enters a tenant to do to the resource what this call does.
    ///
    /// Another tenant's resource is `RESOURCE_NOT_FOUND`; what is not granted is `PERMISSION_MISSING`, whether it exists or not;
    /// a suspended tenant takes reads, and changes of limits and people by platform administrators; a deleted one takes reads of
    /// platform administrators only.
    pub async fn enter(&self, caller: &Caller, tenant: &TenantName, resource: &str) -> Result<Place> {
        caller.expect_tenant(tenant)?;
        if !caller.sees(tenant) {
            return Err(Error::not_found(resource));
        }
        caller.require(resource, self.now())?;
        let place = self.place(tenant).await?.ok_or_else(|| Error::not_found(resource))?;
        if caller.call.reads {
            if place.tenant.state == TenantState::Deleted && !caller.is_platform() {
                return Err(Error::not_found(resource));
            }
        } else {
            place.tenant.expect_writable(caller)?;
        }
        Ok(place)
    }

    /// Enters a tenant for what is the caller's own business, which needs no role. Another tenant's resource is
    /// `RESOURCE_NOT_FOUND`, as in [`enter`](Self::enter).
    pub(crate) async fn enter_as_member(&self, caller: &Caller, tenant: &TenantName, resource: &str) -> Result<Place> {
        caller.expect_tenant(tenant)?;
        let place = if caller.sees(tenant) { self.place(tenant).await? } else { None };
        let place = place.ok_or_else(|| Error::not_found(resource))?;
        if !caller.call.reads {
            place.tenant.expect_writable(caller)?;
        }
        Ok(place)
    }

    /// The tenant of this name, deleted ones too.
    pub async fn place(&self, name: &TenantName) -> Result<Option<Place>> {
        if let Some((since, place)) = lock(&self.tenants).get(name)
            && since.elapsed() < ACCESS_CACHE
        {
            return Ok(Some(place.clone()));
        }
        let found = freehold_store::tenants::get(&mut self.store.read().await?, name).await?;
        found.map(|(tenant, wrapped)| self.remember_place(tenant, &wrapped)).transpose()
    }

    /// The tenant with this key; for the server's own duties.
    pub async fn place_by_scope(&self, db: &mut Session, scope: TenantScope) -> Result<Place> {
        let cached =
            lock(&self.tenants).values().find(|(since, place)| place.scope == scope && since.elapsed() < ACCESS_CACHE).cloned();
        if let Some((_, place)) = cached {
            return Ok(place);
        }
        let found = freehold_store::tenants::get_by_uid(db, scope.0.0).await?;
        let (tenant, wrapped) = found.ok_or_else(|| Error::internal("a row belongs to a tenant that does not exist"))?;
        self.remember_place(tenant, &wrapped)
    }

    fn remember_place(&self, tenant: Tenant, wrapped: &[u8]) -> Result<Place> {
        let key = Arc::new(self.master_key.unwrap(tenant.meta.uid, wrapped)?);
        let place = Place { scope: tenant.scope(), key, tenant: Arc::new(tenant) };
        let mut tenants = lock(&self.tenants);
        tenants.retain(|_, (since, _)| since.elapsed() < ACCESS_CACHE);
        tenants.insert(place.tenant.name.clone(), (Instant::now(), place.clone()));
        Ok(place)
    }

    /// Forgets what is cached of a tenant that has changed.
    pub(crate) fn forget_tenant(&self, name: &TenantName) {
        lock(&self.tenants).remove(name);
    }

    /// Counts one call of a tenant. A replica takes calls from the quota in blocks of a hundredth of the limit, so that most
    /// calls cost no write; a block that a crash loses is lost for the day.
    pub(crate) async fn count_call(&self, name: &TenantName) -> Result<()> {
        let now = self.now();
        let Some(place) = self.place(name).await? else { return Ok(()) };
        let take = |calls: &mut HashMap<TenantScope, Block>| {
            let block = calls.entry(place.scope).or_default();
            let fits = block.day == now.day() && block.left > 0;
            if fits {
                block.left -= 1;
            }
            fits
        };
        if take(&mut lock(&self.calls)) {
            return Ok(());
        }
        let mut tx = self.store.begin_as("server", place.scope).await?;
        let Some(quota) = freehold_store::quotas::get(&mut tx, place.scope, Dimension::ApiCallsPerDay).await? else {
            return Ok(());
        };
        let block = quota.limit.map_or(10_000, |limit| (limit / 100).clamp(1, 10_000));
        let taken = freehold_store::quotas::take_window(&mut tx, place.scope, Dimension::ApiCallsPerDay, block).await?;
        if taken == 0 {
            let quota = freehold_store::quotas::get(&mut tx, place.scope, Dimension::ApiCallsPerDay).await?.unwrap_or(quota);
            return Err(quota.exceeded(1, now));
        }
        tx.commit(&()).await?;
        let mut calls = lock(&self.calls);
        let block = calls.entry(place.scope).or_default();
        let kept = if block.day == now.day() { block.left } else { 0 };
        *block = Block { day: now.day(), left: kept + taken - 1 };
        Ok(())
    }

    /// Commits, or only rehearses when nothing shall change.
    pub(crate) async fn finish<T: Serialize>(&self, tx: Tx, write: &Write, answer: &T) -> Result<()> {
        if write.validate_only { tx.rehearse(answer).await } else { tx.commit(answer).await }
    }

    /// Seals bytes and writes them.
    pub(crate) async fn put(
        &self,
        tx: &mut Tx,
        place: &Place,
        owner: Uid,
        kind: payloads::Kind,
        serial: i64,
        bytes: &[u8],
    ) -> Result<()> {
        let sealed = place.key.seal(self.random.as_ref(), &SealedPlace::payload(place.scope, owner, kind, serial), bytes)?;
        payloads::put(tx, place.scope, owner, kind, serial, &sealed).await
    }

    /// Reads bytes and opens them.
    pub(crate) async fn open(
        &self,
        db: &mut Session,
        place: &Place,
        owner: Uid,
        kind: payloads::Kind,
        serial: i64,
    ) -> Result<Option<Vec<u8>>> {
        let sealed = payloads::get(db, place.scope, owner, kind, serial).await?;
        sealed.map(|sealed| place.key.open(&SealedPlace::payload(place.scope, owner, kind, serial), &sealed)).transpose()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
