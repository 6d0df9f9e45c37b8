//! Certificates and replicas change while calls are made, and no caller notices.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use freehold::{Client, Credentials};
use freehold_tests::{Database::Postgres, Installation, Pki, World, until};
use tokio::task::JoinSet;

/// Callers at the same time, each with a client and so a connection of its own.
const CALLERS: usize = 8;

/// Calls that go on until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<String>>>,
    callers: JoinSet<()>,
}

impl Load {
    fn start(clients: &[Client]) -> Self {
        let mut load = Self { stop: Arc::default(), calls: Arc::default(), failures: Arc::default(), callers: JoinSet::new() };
        for (caller, client) in clients.iter().cloned().enumerate() {
            let (stop, calls, failures) = (Arc::clone(&load.stop), Arc::clone(&load.calls), Arc::clone(&load.failures));
            load.callers.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    if let Err(error) = write_and_read(&client, caller).await {
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{error:?}"));
                    }
                    calls.fetch_add(3, Ordering::SeqCst);
                }
            });
        }
        load
    }

    /// Waits until so many more calls were made.
    async fn more(&self, calls: u64) {
        let goal = self.calls.load(Ordering::SeqCst) + calls;
        until("more calls", || async { self.calls.load(Ordering::SeqCst) >= goal }).await;
    }

    /// Ends the calls. Not one may have failed.
    async fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.callers.join_next().await {
            ended.expect("a caller does not panic");
        }
        let failures = std::mem::take(&mut *self.failures.lock().unwrap_or_else(PoisonError::into_inner));
        let calls = self.calls.load(Ordering::SeqCst);
        assert!(failures.is_empty(), "{} of {calls} calls failed: {failures:#?}", failures.len());
        calls
    }
}

async fn write_and_read(client: &Client, caller: usize) -> freehold::Result<()> {
    let id = format!("of-{caller}");
    client.projects().create(&id).send().await?;
    client.projects().get(&id).send().await?;
    client.projects().delete(&id).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_their_authority_are_rotated_three_times_under_load() {
    let world = World::new(freehold_tests::Database::Sqlite).await;
    let pki = &world.installation.pki;
    world.admin.quotas().set_limit("projects", None).send().await.expect("a limit");
    pki.issue("load", "platform/admin");
    let mut clients = Vec::new();
    for _ in 0..CALLERS {
        clients.push(world.client(pki.credentials("load")).await);
    }
    let load = Load::start(&clients);

    // Twice under the same authority, then to another one by way of a bundle of both.
    for _ in 0..2 {
        load.more(30).await;
        rotate_server(&world, || drop(pki.issue("server", "server/test"))).await;
        rotate_clients(&clients, || drop(pki.issue("load", "platform/admin"))).await;
    }
    let old = copy(pki, "load", "old");
    let next = Pki::create(&world.installation.path("next"));
    next.issue("load", "platform/admin");
    next.issue("server", "server/test");
    let trusted = pki.path("ca.crt");
    let bundle = format!("{}{}", pki.authority.ca_pem(), next.authority.ca_pem());
    replace(&trusted, &bundle);
    let of_next = next.credentials("load").ca_file(&trusted);
    until("the server's trust in the next authority", || is_served(&world, &of_next)).await;
    rotate_server(&world, || move_in(&next, "server", pki)).await;
    rotate_clients(&clients, || move_in(&next, "load", pki)).await;
    replace(&trusted, next.authority.ca_pem());
    until("the end of the old authority", || async { !is_served(&world, &old).await }).await;
    load.more(300).await;
    let calls = load.finish().await;
    println!("{calls} calls by {CALLERS} callers during 3 rotations, 0 failed");
}

/// Gives the server a new certificate and waits until its three listeners with TLS have it.
async fn rotate_server(world: &World, rotate: impl FnOnce()) {
    let taken = || world.replica.process.said().matches("TLS files changed").count();
    let before = taken();
    rotate();
    until("the server's new certificate", || async { taken() >= before + 3 }).await;
}

/// Gives the clients a new certificate and waits until each of them has shown it to the server.
async fn rotate_clients(clients: &[Client], rotate: impl FnOnce()) {
    let mut before = Vec::new();
    for client in clients {
        before.push(client.whoami().send().await.expect("an identity").expire_time);
    }
    rotate();
    for (client, before) in clients.iter().zip(before) {
        until("a client's new certificate", || async {
            client.whoami().send().await.expect("an identity").expire_time != before
        })
        .await;
    }
}

/// Whether a connection with these credentials is served.
async fn is_served(world: &World, credentials: &Credentials) -> bool {
    let address = format!("https://{}", world.replica.api);
    let client = Client::builder(address).credentials(credentials.clone()).tenant("acme").build().await;
    match client {
        Ok(client) => client.whoami().send().await.is_ok(),
        Err(_) => false,
    }
}

/// Puts a file in the place of another in one step, as whoever rotates certificates should.
fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).and_then(|()| std::fs::rename(&new, path)).expect("the folder can be written");
}

/// Moves a certificate of another authority in the place of one.
fn move_in(from: &Pki, file: &str, to: &Pki) {
    for extension in ["key", "crt"] {
        let name = format!("{file}.{extension}");
        std::fs::rename(from.path(&name), to.path(&name)).expect("both are on one disk");
    }
}

/// Credentials with a copy of a certificate, which stays as it is.
fn copy(pki: &Pki, file: &str, copy: &str) -> Credentials {
    for extension in ["key", "crt"] {
        let to = pki.path(&format!("{copy}.{extension}"));
        std::fs::copy(pki.path(&format!("{file}.{extension}")), to).expect("the folder can be written");
    }
    pki.credentials(copy)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_replicas_is_stopped_under_load() {
    let installation = Installation::new(Postgres).await;
    let mut leaving = installation.replica(&[]).await;
    let staying = installation.replica(&[]).await;
    let both = [leaving.api, staying.api];
    let mut clients = Vec::new();
    for _ in 0..CALLERS {
        clients.push(installation.client(&both, installation.pki.credentials("admin"), "acme").await);
    }
    clients[0].tenants().create("acme").send().await.expect("a tenant");
    clients[0].quotas().set_limit("projects", None).send().await.expect("a limit");
    let load = Load::start(&clients);
    load.more(300).await;
    leaving.process.signal("TERM");
    let ended = leaving.process.wait().await;
    assert!(ended.success(), "{ended}: {}", leaving.process.said());
    load.more(300).await;
    let calls = load.finish().await;
    println!("{calls} calls by {CALLERS} callers while a replica was stopped, 0 failed");
    let recount = clients[0].quotas().recount("projects").send().await.expect("a recount");
    assert_eq!((recount.difference, recount.quota.used), (0, 0), "every write and its removal counted once");
}
