//! The service of a replica on a clock that a story puts forward.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use freehold_domain::time::{Clock, Timestamp};
use freehold_service::{App, AppSettings, MasterKey, Store, StoreSettings, SystemClock, SystemRandom};

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
    let app = App::new(AppSettings {
        issuer: None,
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
