//! What people get wrong when they start a server or a runner: it ends at once and says what to do, before anything is harmed.

use std::process::Command;

use freehold_tests::{
    Database::{self, Sqlite},
    Installation, Process, World, eventually,
};

/// Runs a command that must end by itself with code 1; answers all it says.
async fn refusal(installation: &Installation, command: Command) -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let log = format!("refusal-{}.log", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let mut process = Process::start(command, &installation.path(&log));
    let ended = process.wait().await;
    let said = process.said();
    assert_eq!(ended.code(), Some(1), "{said}");
    said
}

fn expect(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "`{word}` is missing in: {said}");
    }
}

both_databases!(another_master_key_is_refused_before_it_can_harm_anything);

async fn another_master_key_is_refused_before_it_can_harm_anything(database: Database) {
    let mut world = World::new(database).await.with_sample().await;
    let installation = &world.installation;
    let key = |byte: u8| std::fs::write(installation.path("master.key"), [byte; 32]).expect("the folder can be written");
    let words = ["freehold: the master key is not the one that this database was begun with", "--master-key"];
    world.replica.process.signal("TERM");
    world.replica.process.wait().await;

    key(41);
    let said = refusal(installation, installation.serve(&[])).await;
    expect(&said, &words);
    assert_eq!(said.lines().count(), 1, "one line: {said}");

    // A database of a version that kept no mark is known by its tenants.
    installation.execute("DELETE FROM master_key").await;
    expect(&refusal(installation, installation.serve(&[])).await, &words);
    key(42);
    let replica = installation.replica(&[]).await;
    expect(&replica.process.said(), &["everybody on this machine can read this key", "master.key"]);
    let admin = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    let made = admin.deployments().create("shop/dev/hello", "greeting@1.0.0").input("name", "world").send().await;
    assert_eq!(made.expect("what was sealed opens, and more is sealed").inputs["name"], "world");
}

both_databases!(a_key_is_remembered_from_the_first_start_on);

async fn a_key_is_remembered_from_the_first_start_on(database: Database) {
    let installation = Installation::new(database).await;
    let replica = installation.replica(&[]).await;
    let said = replica.process.said();
    expect(&said, &["there was no key to sign tokens with", "token.key"]);
    drop(replica);
    // No tenant has come yet, and still the first key is the one.
    std::fs::write(installation.path("master.key"), [41; 32]).expect("the folder can be written");
    expect(&refusal(&installation, installation.serve(&[])).await, &["the master key is not the one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_needs_a_certificate_for_servers() {
    let installation = Installation::new(Sqlite).await;
    for end in ["crt", "key"] {
        let file = |name: &str| installation.pki.path(&format!("{name}.{end}"));
        std::fs::copy(file("admin"), file("server")).expect("the folder can be written");
    }
    let said = refusal(&installation, installation.serve(&[])).await;
    expect(&said, &["server.crt", "is a client's certificate", "serverAuth"]);
    assert!(!installation.path("token.key").exists(), "a server that does not start makes no key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_no_server_would_ever_take_ends_and_says_why() {
    let world = World::new(Sqlite).await;
    let installation = &world.installation;
    let said = refusal(installation, installation.run(&[world.replica.api], "runner", &[])).await;
    expect(&said, &["freehold: this address takes no runners", "--endpoint must name the runner listener"]);
    let said = refusal(installation, installation.run(&[world.replica.runner], "admin", &[])).await;
    expect(&said, &["freehold: platform/admin is not a runner", "runnerPools/POOL/runners/NAME"]);
    let revoked = installation.pki.issue("old", "runnerPools/default/runners/old");
    installation.pki.authority.revoke(&revoked).expect("revoked");
    eventually("the revocation", || async {
        let old = installation.client(&[world.replica.api], installation.pki.credentials("old"), "acme").await;
        old.whoami().send().await.err().ok_or("still taken")
    })
    .await;
    let said = refusal(installation, installation.run(&[world.replica.runner], "old", &[])).await;
    expect(&said, &["the server refused the client certificate", "was not revoked"]);
    assert_eq!(said.matches("the server refused").count(), 1, "once is enough: {said}");

    // A server that is only away is waited for, and that is told once.
    let mut world = world;
    let runner = world.runner();
    let saying = |what: &'static str| {
        let said = runner.process.said();
        async move { if said.contains(what) { Ok(()) } else { Err(said) } }
    };
    eventually("a runner", || saying("registered; waiting for work")).await;
    world.replica.process.kill();
    eventually("a complaint", || saying("the server does not help; trying on")).await;
    let address = world.replica.runner.to_string();
    world.replica = world.installation.replica(&["--runner-addr", &address]).await;
    eventually("the end of it", || saying("the server helps again")).await;
    assert_eq!(runner.process.said().matches("trying on").count(), 1, "{}", runner.process.said());
}
