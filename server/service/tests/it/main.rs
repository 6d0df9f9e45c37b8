//! The use cases on a real database, as callers see them.

mod access;
mod keys;
mod tenants;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use freehold_domain::{
    Error, Result,
    access::{CallFacts, Caller, Role},
    console::Console,
    iam::RoleBinding,
    names::TenantName,
    network::AddressPolicy,
    resource::{Described, Page},
    tenants::Tenant,
    time::{Clock, Timestamp},
    webhook_deliveries::{Attempt, Verdict},
};
use freehold_service::{
    App, AppSettings, MasterKey, NoConnectors, RequestKey, SystemClock, SystemRandom, Write,
    access::{CreateRoleBinding, create_binding},
    identify::{Proven, identify},
    tenants::CreateTenant,
    users::{self, InviteUser},
    webhook_deliveries::{Message, Target, WebhookSender},
};
use freehold_store::{Store, StoreSettings};
use futures::future::BoxFuture;
use tempfile::TempDir;

const ADMIN: &str = "platform/admin";
const PAGE: Page = Page { size: 50, after: None, newest_first: false };

/// The machine's clock, which tests can put forward.
#[derive(Default)]
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(Duration::from_secs(self.0.load(Ordering::Relaxed)))
    }
}

/// Sends nothing: receivers are the business of stories.
struct Nowhere;

impl WebhookSender for Nowhere {
    fn new_secret(&self) -> String {
        "whsec_".to_owned()
    }

    fn send<'a>(&'a self, _target: &'a Target, _message: &'a Message) -> BoxFuture<'a, (Attempt, Verdict)> {
        Box::pin(std::future::ready((Attempt::default(), Verdict::NotSent(None))))
    }
}

/// An installation on an empty database.
struct Installation {
    app: App,
    clock: Arc<TestClock>,
    _files: TempDir,
}

impl Installation {
    async fn start() -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let (clock, random) = (Arc::new(TestClock::default()), Arc::new(SystemRandom::new()));
        let settings = StoreSettings::Sqlite(files.path().join("freehold.db"));
        let store = Store::open(&settings, clock.clone(), random.clone()).await.expect("opens");
        let app = App::new(AppSettings {
            store,
            clock: clock.clone(),
            random,
            master_key: MasterKey::new(&[7; 32]).expect("32 bytes"),
            trust_domain: "test.example".to_owned(),
            lease: Duration::from_secs(30),
            issuer: None,
            connectors: Arc::new(NoConnectors),
            identity_provider: None,
            validators: Vec::new(),
            webhooks: Arc::new(Nowhere),
            address_policy: AddressPolicy::default(),
            console: Console::default(),
        });
        Self { app, clock, _files: files }
    }

    /// Puts the clock forward.
    fn pass(&self, time: Duration) {
        self.clock.0.fetch_add(time.as_secs(), Ordering::Relaxed);
    }

    /// Somebody who calls the method with this permission.
    async fn caller(&self, who: &str, permission: &'static str) -> Result<Caller> {
        let reads = permission.ends_with(".get") || permission.ends_with(".list");
        let call = CallFacts { method: "test", permission, reads, ..CallFacts::default() };
        let proven = Proven::Certificate { spiffe_id: format!("spiffe://test.example/{who}"), expire_time: self.app.now() };
        identify(&self.app, proven, call).await
    }

    /// The same, of somebody who is known.
    async fn call(&self, who: &str, permission: &'static str) -> Caller {
        self.caller(who, permission).await.expect("is somebody")
    }

    async fn tenant(&self, id: &str) -> Tenant {
        let cmd = CreateTenant { id: Some(id.parse().expect("an id")), described: Described::default(), queue_weight: None };
        let caller = self.call(ADMIN, "tenants.tenants.create").await;
        freehold_service::tenants::create(&self.app, &caller, cmd, &write()).await.expect("created")
    }

    /// Invites a user, as the platform administrator.
    async fn user(&self, tenant: &str, id: &str) -> String {
        let cmd = InviteUser {
            parent: name(tenant),
            id: Some(id.parse().expect("an id")),
            described: Described::default(),
            email: format!("{id}@{}.example", tenant.trim_start_matches("tenants/")),
        };
        let caller = self.call(ADMIN, "iam.users.invite").await;
        users::invite(&self.app, &caller, cmd, &write()).await.expect("invited").name.to_string()
    }

    async fn give(&self, who: &str, role: &str, member: &str, resource: &str) -> Result<RoleBinding> {
        let tenant = resource.split('/').take(2).collect::<Vec<_>>().join("/");
        let cmd = CreateRoleBinding {
            parent: name(&tenant),
            role: Role::find(role).expect("a role"),
            member: member.parse().expect("a member"),
            resource: resource.parse().expect("a resource"),
            expire_time: None,
        };
        create_binding(&self.app, &self.call(who, "iam.roleBindings.create").await, cmd, &write()).await
    }

    /// A user of a new tenant `acme` who has this role in it.
    async fn acme(&self, role: &str) -> String {
        self.tenant("acme").await;
        let ada = self.user("tenants/acme", "ada").await;
        self.give(ADMIN, role, &ada, "tenants/acme").await.expect("given");
        ada
    }
}

fn name(text: &str) -> TenantName {
    text.parse().expect("a tenant's name")
}

/// A write that nobody repeats.
fn write() -> Write {
    Write { key: RequestKey { request_id: None, digest: [0; 32] }, validate_only: false, etag: None }
}

fn missing(error: &Error) -> Option<&str> {
    error.metadata().get("permission").map(String::as_str)
}
