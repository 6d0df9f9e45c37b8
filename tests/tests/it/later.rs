//! The service of a replica on a clock that a story puts forward.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use freehold_connectors::{Environment, Registry, SystemLookup};
use freehold_domain::{
    console::Console,
    network::AddressPolicy,
    time::{Clock, Timestamp},
};
use freehold_service::{App, AppSettings, MasterKey, NoConnectors, Store, StoreSettings, SystemClock, SystemRandom};
use freehold_worker::Sender;

/// A clock that can be put forward, by seconds.
#[derive(Default)]
pub struct Later(AtomicU64);

impl Later {
    /// So many seconds from now.
    pub fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

impl Clock for Later {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(Duration::from_secs(self.0.load(Ordering::SeqCst)))
    }
}

/// Opens the database of an installation, which no other process may have open when it is SQLite.
pub async fn open(database_url: &str) -> (App, Arc<Later>) {
    let settings = match database_url.strip_prefix("sqlite:") {
        Some(path) => StoreSettings::Sqlite(path.into()),
        None => StoreSettings::Postgres { url: database_url.to_owned(), connections: 4 },
    };
    let (clock, random) = (Arc::new(Later::default()), Arc::new(SystemRandom::new()));
    let store = Store::open(&settings, clock.clone(), random.clone()).await.expect("the database opens");
    let address_policy = AddressPolicy::default();
    let registry = Arc::new(Registry::new(Environment {
        policy: Arc::new(address_policy.clone()),
        lookup: Arc::new(SystemLookup),
        clock: clock.clone(),
        random: random.clone(),
    }));
    let app = App::new(AppSettings {
        issuer: None,
        webhooks: Arc::new(Sender::new(registry, clock.clone(), random.clone())),
        address_policy,
        connectors: Arc::new(NoConnectors),
        console: Console::default(),
        identity_provider: None,
        store,
        clock: clock.clone(),
        random,
        master_key: MasterKey::new(&[42; 32]).expect("32 bytes"),
        trust_domain: "freehold.test".to_owned(),
        lease: Duration::from_secs(30),
        validators: Vec::new(),
    });
    (app, clock)
}
