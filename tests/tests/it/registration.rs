//! Runners join a pool by a token, once, keep their certificates by themselves, and are removed.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use freehold::{
    Runner, RunnerState, SandboxLevel, Timestamp,
    raw::proto::runners::v1::{RegisterRunnerRequest, runner_service_client::RunnerServiceClient},
};
use freehold_api::authority::{Profile, Usage};
use freehold_tests::{Database, Process, World, binary, endpoint, eventually, until};
use rcgen::{CertificateParams, KeyPair};
use tonic::Code;
use uuid::Uuid;

use crate::scripted_runner::asks;

/// A request of a certificate for this key, changed as a story wants it.
pub fn certificate_request(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> String {
    let mut params = CertificateParams::default();
    change(&mut params);
    params.serialize_request(key).expect("a request").pem().expect("PEM")
}

fn soon() -> Timestamp {
    Timestamp::now() + Duration::from_secs(3600)
}

/// A runner with a folder of its own, and with a token where there is one.
fn start(world: &World, dir: &Path, log: &str, options: &[&str], token: Option<&str>) -> Process {
    let installation = &world.installation;
    let mut command = Command::new(binary());
    command.args(["runner", "--endpoint", &endpoint(world.replica.runner), "--allow-private", "--ca"]);
    command.arg(installation.pki.path("ca.crt")).arg("--file-root").arg(installation.path("files"));
    command.arg("--data-dir").arg(dir).args(options).env_remove("RUST_LOG");
    if let Some(token) = token {
        let file = installation.path(&format!("{log}.token"));
        fs::write(&file, format!("{token}\n")).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
        command.arg("--token-file").arg(file);
    }
    Process::start(command, &installation.path(&format!("{log}.log")))
}

async fn online(world: &World, name: &str) -> Runner {
    eventually(&format!("{name} online"), || async {
        let runners = world.admin.runner_pools().list_runners("default").collect_up_to(100).await.expect("runners");
        let found = runners.into_iter().find(|runner| runner.name.ends_with(name) && !runner.version.is_empty());
        found.filter(|runner| runner.state == RunnerState::Online).ok_or("not there")
    })
    .await
}

fn folder(world: &World, name: &str) -> PathBuf {
    world.installation.path(name)
}

both_databases!(a_runner_joins_by_a_token_and_goes_on_without_it);

async fn a_runner_joins_by_a_token_and_goes_on_without_it(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let pools = world.admin.runner_pools();
    let dir = folder(&world, "one");
    let token = pools.create_token("default", soon()).send().await.expect("a token");
    let secret = token.secret.reveal().to_owned();

    let mut first = start(&world, &dir, "first", &["--name", "one", "--label", "zone=a"], Some(&secret));
    let runner = online(&world, "runners/one").await;
    assert_eq!(runner.labels.get("zone").map(String::as_str), Some("a"));
    assert!(runner.platform.starts_with("linux/") && runner.engine_versions.contains_key("native"), "{runner:?}");
    assert!(!runner.sandbox.is_empty(), "{runner:?}");
    let mode = fs::metadata(dir.join("runner.pem")).expect("a file").permissions().mode();
    assert_eq!((mode & 0o777, dir.join("registration.key").exists()), (0o600, false));
    let listed = pools.list_tokens("default").collect_up_to(10).await.expect("tokens");
    assert_eq!(listed[0].runner.as_deref(), Some("runnerPools/default/runners/one"));

    first.kill();
    let second = start(&world, &dir, "second", &[], None);
    world.admin.deployments().create("shop/dev/web", "greeting@1.0.0").input("name", "world").send().await.expect("a deployment");
    let run =
        world.admin.runs().plan("shop/dev/web").auto_apply().send().await.expect("a run").wait_done().await.expect("an end");
    let run = run.into_result().expect("well");
    assert_eq!(run.runner.as_deref(), Some("runnerPools/default/runners/one"));
    assert_eq!(run.sandbox, None, "the native engine starts no programs");

    let mut thief = start(&world, &folder(&world, "thief"), "thief", &["--name", "thief"], Some(&secret));
    assert!(!thief.wait().await.success());
    assert!(thief.said().contains("the registration token is not valid"), "{}", thief.said());
    let mut nobody = start(&world, &folder(&world, "nobody"), "nobody", &[], None);
    assert!(!nobody.wait().await.success());
    assert!(nobody.said().contains("--token-file"), "{}", nobody.said());

    for said in [world.replica.process.said(), first.said(), second.said(), thief.said()] {
        assert!(!said.contains(&secret), "a secret is in a log");
    }
}

both_databases!(an_answer_that_was_lost_is_given_again_and_to_nobody_else);

async fn an_answer_that_was_lost_is_given_again_and_to_nobody_else(database: Database) {
    let world = World::new(database).await;
    let token = world.admin.runner_pools().create_token("default", soon()).send().await.expect("a token");
    let anonymous = world.installation.client(&[world.replica.runner], world.installation.pki.trust(), "acme").await;
    let mut service = RunnerServiceClient::new(anonymous.raw().expect("a channel"));
    let key = KeyPair::generate().expect("a key");
    // Each request is signed anew, so its bytes differ; the key is the same.
    let mut ask = async |key: &KeyPair| {
        let request = RegisterRunnerRequest {
            token: token.secret.reveal().to_owned(),
            parent: "runnerPools/default".to_owned(),
            runner_id: "one".to_owned(),
            certificate_request: certificate_request(key, |_| ()),
        };
        service.register_runner(request).await.map(|answer| answer.into_inner().certificate)
    };
    let first = ask(&key).await.expect("joined");
    assert_eq!(ask(&key).await.expect("the same again"), first);
    let refused = ask(&KeyPair::generate().expect("a key")).await.expect_err("somebody else");
    assert_eq!(refused.code(), Code::Unauthenticated);
}

both_databases!(a_certificate_is_renewed_at_half_of_its_life_without_a_restart);

async fn a_certificate_is_renewed_at_half_of_its_life_without_a_restart(database: Database) {
    let world = World::new(database).await;
    let dir = folder(&world, "short");
    fs::create_dir_all(&dir).expect("a folder");
    // It began five minutes ago, so more than half of it is over.
    let issued = world.installation.pki.authority.issue(&Profile {
        spiffe_id: "spiffe://freehold.test/runnerPools/default/runners/short".parse().expect("an identity"),
        dns_names: Vec::new(),
        ips: Vec::new(),
        lifetime: Duration::from_secs(20),
        usage: Usage::Client,
    });
    let issued = issued.expect("a certificate");
    let before = format!("{}{}", issued.cert_pem, issued.key_pem);
    fs::write(dir.join("runner.pem"), &before).expect("a file");

    let mut runner = start(&world, &dir, "short", &[], None);
    until("another certificate", || async { fs::read_to_string(dir.join("runner.pem")).is_ok_and(|now| now != before) }).await;
    until("the end of the first one", || async { Timestamp::now() > end(issued.not_after.as_micros()) }).await;
    let after = Timestamp::now();
    eventually("a heartbeat under the new one", || async {
        let seen = online(&world, "runners/short").await.last_seen_time.expect("a time");
        if seen > after { Ok(()) } else { Err(seen) }
    })
    .await;
    assert!(runner.ended().is_none(), "it was never restarted");
    let trail = world.admin.audit().list_installation().collect_up_to(100).await.expect("the trail");
    assert!(trail.iter().any(|record| format!("{record:?}").contains("RunnerService/RenewCertificate")));
}

fn end(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).expect("a time")
}

both_databases!(a_runner_that_is_removed_is_refused_and_nobody_gets_its_name);

async fn a_runner_that_is_removed_is_refused_and_nobody_gets_its_name(database: Database) {
    let world = World::new(database).await;
    let pools = world.admin.runner_pools();
    let dir = folder(&world, "gone");
    let token = pools.create_token("default", soon()).send().await.expect("a token");
    let _runner = start(&world, &dir, "gone", &["--name", "gone"], Some(token.secret.reveal()));
    online(&world, "runners/gone").await;

    pools.delete_runner("default/gone").send().await.expect("removed");
    let pem = dir.join("runner.pem");
    let credentials = world.installation.pki.trust().certificate_files(&pem, &pem);
    let client = world.installation.client(&[world.replica.runner], credentials, "acme").await;
    let mut service = RunnerServiceClient::new(client.raw().expect("a channel"));
    let ask = asks(Uuid::now_v7(), "native");
    assert_eq!(service.acquire_job(ask).await.expect_err("refused").code(), Code::Unauthenticated);
    assert!(pools.list_runners("default").collect_up_to(10).await.expect("runners").is_empty());
    assert!(pools.delete_runner("default/gone").send().await.expect_err("gone").is_not_found());

    let token = pools.create_token("default", soon()).send().await.expect("a token");
    let mut again = start(&world, &folder(&world, "again"), "again", &["--name", "gone"], Some(token.secret.reveal()));
    assert!(!again.wait().await.success());
    assert!(again.said().contains("exists already; choose another id"), "{}", again.said());
}

both_databases!(a_pool_gives_work_to_runners_only_that_isolate_as_it_demands);

async fn a_pool_gives_work_to_runners_only_that_isolate_as_it_demands(database: Database) {
    let world = World::new(database).await;
    let pools = world.admin.runner_pools();
    let pool = pools.update("default").required_sandbox(Some(SandboxLevel::Isolated)).send().await.expect("a demand");
    assert_eq!(pool.required_sandbox, Some(SandboxLevel::Isolated));
    let credentials = world.installation.pki.credentials("runner");
    let client = world.installation.client(&[world.replica.runner], credentials, "acme").await;
    let mut service = RunnerServiceClient::new(client.raw().expect("a channel"));
    let mut say = async |sandbox: &str| {
        let beat = freehold::raw::proto::runners::v1::HeartbeatRequest { sandbox: sandbox.to_owned(), ..Default::default() };
        service.heartbeat(beat).await.expect("noted");
        let ask = asks(Uuid::now_v7(), "native");
        let mut request = tonic::Request::new(ask);
        request.set_timeout(Duration::from_millis(1200));
        service.acquire_job(request).await.map(|answer| answer.into_inner().job.is_some())
    };
    for less in ["", "none", "cgroup", "user,mount,pid,ipc,uts,cgroup"] {
        let refused = say(less).await.expect_err(less);
        assert_eq!(refused.code(), Code::FailedPrecondition, "{less}");
        assert!(refused.message().contains("--sandbox required"), "{}", refused.message());
    }
    assert!(!say("user,mount,pid,ipc,uts,net").await.expect("nothing to do, and no refusal"));
    pools.update("default").required_sandbox(None).send().await.expect("no demand");
    assert!(!say("none").await.expect("no refusal"));
}

both_databases!(a_server_without_an_authority_says_what_to_do);

async fn a_server_without_an_authority_says_what_to_do(database: Database) {
    let mut world = World::new(database).await;
    let token = world.admin.runner_pools().create_token("default", soon()).send().await.expect("a token");
    let with = world.installation.serve(&[]);
    let place = with.get_args().position(|word| word == "--ca-dir").expect("the option");
    let mut without = Command::new(with.get_program());
    without.args(with.get_args().enumerate().filter(|(n, _)| *n != place && *n != place + 1).map(|(_, word)| word));
    world.replica.process.kill();
    world.replica = world.installation.start(without).await;
    let mut runner = start(&world, &folder(&world, "one"), "one", &["--name", "one"], Some(token.secret.reveal()));
    assert!(!runner.wait().await.success());
    let said = runner.said();
    assert!(said.contains("--ca-dir") && said.contains("spiffe://freehold.test/runnerPools/default/runners/one"), "{said}");
}
