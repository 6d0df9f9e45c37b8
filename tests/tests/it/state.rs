//! States in the hands of people and of Terraform itself: locks, fences, refusals, downloads, graphs.

use std::{
    path::{Path, PathBuf},
    process::Output,
    sync::Arc,
    time::Duration,
};

use freehold::{Client, DeploymentState, GraphFormat, ManagedResource, RunKind, RunOutcome, RunPhase, WaitingReason};
use freehold_tests::{Database, Installation, World, armed, eventually, terraform};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
    time::timeout,
};

use crate::{
    Sqlite,
    terraform::{ended, module},
};

const WEB: &str = "tenants/acme/projects/shop/environments/dev/deployments/web";
const SOON: Duration = Duration::from_secs(120);

/// Resources of the program itself, so that no provider has to be fetched.
const MODULE: &str = r#"
variable "name" { type = string }
variable "token" {
  type      = string
  sensitive = true
}
resource "terraform_data" "first" { input = var.name }
resource "terraform_data" "many" {
  for_each = toset(["a", "b"])
  input    = "${terraform_data.first.output} ${each.key}"
}
resource "terraform_data" "last" { input = [for each in terraform_data.many : each.output] }
output "name" { value = terraform_data.first.output }
"#;

/// What a server said.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Somebody who speaks HTTP with the listener `state`.
struct Https<'w> {
    world: &'w World,
    /// File of a certificate; none is shown without it.
    certificate: Option<&'static str>,
    /// An API key.
    password: Option<String>,
}

impl<'w> Https<'w> {
    fn of(world: &'w World, certificate: &'static str) -> Self {
        Self { world, certificate: Some(certificate), password: None }
    }

    fn with_password(world: &'w World, password: impl Into<String>) -> Self {
        Self { world, certificate: None, password: Some(password.into()) }
    }

    async fn send(&self, method: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        timeout(SOON, self.speak(method, query, headers, body)).await.expect("the server answers in time")
    }

    async fn speak(&self, method: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let pki = &self.world.installation.pki;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(pki.path("ca.crt")).expect("a certificate")).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
        let trusting = versions.with_root_certificates(roots);
        let config = match self.certificate {
            Some(file) => {
                let chain = CertificateDer::pem_file_iter(pki.path(&format!("{file}.crt"))).expect("a file");
                let chain = chain.collect::<Result<_, _>>().expect("certificates");
                let key = PrivateKeyDer::from_pem_file(pki.path(&format!("{file}.key"))).expect("a key");
                trusting.with_client_auth_cert(chain, key).expect("a key that fits")
            }
            None => trusting.with_no_client_auth(),
        };
        let tcp = TcpStream::connect(self.world.replica.state).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut tls = connector.connect(name, tcp).await.expect("a handshake");
        let mut head = format!("{method} /state/v1/{WEB}{query} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        head += &format!("content-length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(password) = &self.password {
            head += &format!("authorization: Basic {}\r\n", base64(format!("anybody:{password}").as_bytes()));
        }
        tls.write_all(format!("{head}\r\n").as_bytes()).await.expect("it listens");
        // Who is told too early that it is too much hangs up.
        let _ = tls.write_all(body).await;
        let mut answer = Vec::new();
        let _ = tls.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    async fn lock(&self, id: &str) -> Answer {
        self.send("LOCK", "", &[], lock(id).as_bytes()).await
    }

    async fn unlock(&self, id: &str) -> Answer {
        self.send("UNLOCK", "", &[], lock(id).as_bytes()).await
    }

    async fn write(&self, lock: &str, state: &str) -> Answer {
        self.send("POST", &format!("?ID={lock}"), &[], state.as_bytes()).await
    }
}

fn base64(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let piece = |piece: &[u8]| {
        let bits = piece.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - piece.len()));
        let digit = |at: usize| if at <= piece.len() { alphabet[(bits >> (18 - 6 * at)) as usize & 63].into() } else { '=' };
        (0..4).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(piece).collect()
}

/// What the program sends to take a lock.
fn lock(id: &str) -> String {
    json!({ "ID": id, "Operation": "OperationTypeApply", "Info": "", "Who": "ada@laptop", "Version": "1.11.4",
            "Created": "2026-01-01T00:00:00Z", "Path": "" })
    .to_string()
}

fn content(serial: u64, lineage: &str, more: &str) -> String {
    json!({ "version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": lineage,
            "outputs": { "more": { "value": more, "type": "string" } }, "resources": [] })
    .to_string()
}

/// A server with `shop/dev/web`, of which nothing is real; with these safeguards taken away.
async fn world(database: Database, mutant: &str) -> World {
    let world = if mutant.is_empty() {
        World::new(database).await
    } else {
        let installation = Installation::new(database).await;
        let replica = installation.start(armed(&installation.serve(&[]), &[("FREEHOLD_MUTANT", mutant)])).await;
        let admin = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
        admin.tenants().create("acme").send().await.expect("a tenant");
        World { installation, replica, admin }
    };
    let world = world.shop().await;
    world.publish("module", module(MODULE)).await;
    let web = world.admin.deployments().create("shop/dev/web", "module@1.0.0").input("name", "one");
    web.input("token", "canary-of-the-token").send().await.expect("a deployment");
    world
}

/// How many versions there are, which is the serial of the newest.
async fn versions(client: &Client) -> i64 {
    let versions = client.state().list_versions("shop/dev/web").collect_up_to(500).await.expect("versions");
    versions.last().map_or(0, |newest| newest.serial)
}

/// An API key of the service account `ci`, which may do everything in its tenant.
async fn key(world: &World) -> String {
    world.admin.service_accounts().create("ci").send().await.expect("an account");
    world.admin.access().bind("tenant-admin", "serviceAccounts/ci").send().await.expect("a role");
    let tomorrow = freehold::Timestamp::now() + Duration::from_secs(86_400);
    world.admin.api_keys().create("serviceAccounts/ci", tomorrow).send().await.expect("a key").secret.reveal().to_owned()
}

async fn a_state_is_written_by_its_holder_only(database: Database) {
    let world = world(database, "").await;
    world.person("acme", "ada", &["tenant-admin"]).await;
    world.person("acme", "vic", &["viewer"]).await;
    world.tenant("beta").await;
    world.person("beta", "eve", &["tenant-admin"]).await;
    let (ada, boss) = (Https::of(&world, "acme-ada"), Https::of(&world, "admin"));
    let (vic, eve) = (Https::of(&world, "acme-vic"), Https::of(&world, "beta-eve"));

    // Who it is, and whether they may.
    let nobody = Https { certificate: None, ..Https::of(&world, "") };
    let refused = nobody.send("GET", "", &[], b"").await;
    assert!(refused.status == 401 && refused.head.contains("www-authenticate: basic"), "{refused:?}");
    for password in ["fh_not-a-key-of-anybody", "not.a.token"] {
        assert_eq!(Https::with_password(&world, password).send("GET", "", &[], b"").await.status, 401, "{password}");
    }
    let ci = Https::with_password(&world, key(&world).await);
    assert_eq!(ci.send("GET", "", &[], b"").await.status, 404, "there is no state yet");
    for (method, body) in [("GET", String::new()), ("LOCK", lock("e")), ("POST", content(1, "l", "")), ("UNLOCK", String::new())]
    {
        let there = eve.send(method, "", &[], body.as_bytes()).await;
        assert_eq!(there.status, 404, "{method} of another tenant: {there:?}");
        let may_not = vic.send(method, "", &[], body.as_bytes()).await;
        assert_eq!(may_not.status, 403, "{method} without the permission: {may_not:?}");
    }

    // One at a time, whoever races.
    let racing = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"];
    let answers = futures::future::join_all(racing.map(|id| ci.lock(id))).await;
    let won: Vec<&str> = racing.iter().zip(&answers).filter(|(_, answer)| answer.status == 200).map(|(id, _)| *id).collect();
    let [winner] = won[..] else { panic!("{answers:?}") };
    for lost in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!((lost.status, lost.json()["ID"].as_str()), (423, Some(winner)), "{lost:?}");
    }
    assert_eq!(ci.unlock(winner).await.status, 200);
    assert_eq!(ci.lock("one").await.status, 200);
    assert_eq!(ci.lock("one").await.status, 200, "a repeat is the same");
    let second = ada.lock("two").await;
    assert_eq!((second.status, second.json()["ID"].as_str()), (423, Some("one")), "{second:?}");
    assert!(second.json()["Who"].as_str().is_some_and(|who| who.ends_with("serviceAccounts/ci")), "{second:?}");
    assert_eq!(ada.lock("one").await.status, 423, "an id is no proof");
    let mut accepted = 0;
    for (what, who, id, state, status) in [
        ("without a lock", &ci, "", content(1, "l", ""), 409),
        ("with another lock", &ci, "two", content(1, "l", ""), 409),
        ("with the lock of somebody else", &ada, "one", content(1, "l", ""), 409),
        ("what is no state", &ci, "one", "{}".to_owned(), 400),
        ("the first", &ci, "one", content(4, "l", ""), 200),
        ("the same again", &ci, "one", content(4, "l", ""), 200),
        ("the same serial", &ci, "one", content(4, "l", "x"), 409),
        ("an older one", &ci, "one", content(3, "l", "x"), 409),
        ("another lineage", &ci, "one", content(5, "m", ""), 409),
        ("the next", &ci, "one", content(5, "l", "x"), 200),
    ] {
        let before = versions(&world.admin).await;
        let answer = who.write(id, &state).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        accepted += versions(&world.admin).await - before;
    }
    assert_eq!(accepted, 2, "what was refused has changed nothing");
    let next = content(6, "l", "");
    let damaged = ci.send("POST", "?ID=one", &[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")], next.as_bytes()).await;
    assert!(damaged.status == 400 && damaged.body.contains("Content-MD5"), "{damaged:?}");
    let large = ci.send("POST", "?ID=one", &[], &vec![b' '; (16 << 20) + 1]).await;
    assert_eq!(large.status, 413, "{large:?}");
    assert_eq!(ada.unlock("one").await.status, 409, "it is not hers");
    assert_eq!(ci.unlock("two").await.status, 409, "he holds another one");

    // Broken, by somebody who may.
    assert_eq!(eve.send("UNLOCK", "", &[], br#"{"ID":"one"}"#).await.status, 404);
    assert_eq!(vic.send("UNLOCK", "", &[], br#"{"ID":"one"}"#).await.status, 403);
    assert_eq!(boss.send("UNLOCK", "", &[], br#"{"ID":"two"}"#).await.status, 409, "another lock than the one that was meant");
    assert_eq!(boss.send("UNLOCK", "", &[], br#"{"ID":"one"}"#).await.status, 200);
    let late = ci.write("one", &next).await;
    assert!(late.status == 409 && late.body.contains("let go or broken"), "{late:?}");
    assert_eq!(ci.lock("one").await.status, 409, "a request that was overtaken brings it back to nobody");
    assert_eq!(ada.lock("three").await.status, 200);
    assert_eq!(ci.write("one", &next).await.status, 409);
    assert_eq!(ada.write("three", &next).await.status, 200);
    assert_eq!(ada.unlock("three").await.status, 200);
    assert_eq!(ada.unlock("three").await.status, 200, "a repeat is the same");
    assert_eq!(ada.write("three", &content(7, "l", "")).await.status, 409, "after it was let go");
    assert_eq!(versions(&world.admin).await, 3, "no stale write was taken");

    // What comes back is what went in, and the trail says who took it.
    assert_eq!(ada.send("GET", "", &[], b"").await.body, next);
    assert_eq!(ada.send("DELETE", "", &[], b"").await.status, 405);
    let trail = world.admin.audit().list().collect_up_to(1000).await.expect("the trail");
    let took = |who: &str| {
        let by = trail.iter().filter(|record| record.method.ends_with("/DownloadState") && record.principal.ends_with(who));
        by.filter(|record| record.resource == WEB).count()
    };
    assert!(took("users/ada") >= 1, "a download is audited");
    assert!(trail.iter().any(|record| record.method.ends_with("/BreakStateLock") && record.principal == "platform/admin"));
}

both_databases!(a_state_is_written_by_its_holder_only);

/// Whether a server takes what is written under a lock that was broken.
async fn broken_lock_is_fenced(world: &World) -> Result<(), String> {
    let state = world.admin.state();
    let lock = state.lock("shop/dev/web").send().await.expect("a lock");
    state.write("shop/dev/web", &lock.id, content(1, "l", "").into_bytes()).send().await.expect("it is held");
    let broken = state.break_lock("shop/dev/web", "its holder is gone").send().await.expect("broken");
    assert_eq!(broken.lock.map(|lock| lock.id), Some(lock.id.clone()));
    match state.write("shop/dev/web", &lock.id, content(2, "l", "").into_bytes()).send().await {
        Ok(_) => Err("a write under a broken lock was taken".to_owned()),
        Err(error) if error.is_failed_precondition() => Ok(()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_look_at_the_lock_is_noticed() {
    let noticed = broken_lock_is_fenced(&world(Sqlite, "state-lock").await).await.expect_err("the mutant takes it");
    assert!(noticed.contains("was taken"), "{noticed}");
    broken_lock_is_fenced(&world(Sqlite, "").await).await.expect("a server that looks does not");
}

async fn a_run_waits_for_whoever_holds_the_state(database: Database) {
    let world = world(database, "").await;
    let _runner = world.runner();
    let ada = world.person("acme", "ada", &["tenant-admin"]).await;
    let lock = ada.state().lock("shop/dev/web").send().await.expect("a lock");
    assert!(world.admin.deployments().get("shop/dev/web").send().await.expect("it is there").state_locked);
    let run = world.admin.runs().plan("shop/dev/web").auto_apply().send().await.expect("a run");
    let told = eventually("the run waits for her", || async {
        let why = world.admin.runs().explain(&run.run().name).send().await.expect("an answer");
        let held = |on: &freehold::WaitingOn| on.reason == WaitingReason::Lock && on.detail.contains("users/ada");
        if why.waiting_on.as_ref().is_some_and(held) { Ok(why) } else { Err(format!("{why:?}")) }
    })
    .await;
    let way_out = format!("freehold state break-lock {WEB} --lock {} --reason TEXT", lock.id);
    assert!(told.blockers.iter().any(|blocker| blocker.action == way_out), "{told:?}");
    ada.state().unlock("shop/dev/web", lock.id).send().await.expect("let go");
    assert_eq!(ended(run).await.outcome, Some(RunOutcome::Succeeded));
}

both_databases!(a_run_waits_for_whoever_holds_the_state);

/// Terraform as a person would run it in a folder.
pub struct Terraform {
    dir: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Terraform {
    /// A module of this text in a new folder of the installation.
    pub fn new(world: &World, name: &str, text: &str) -> Self {
        let dir = world.installation.path(name);
        std::fs::create_dir_all(&dir).expect("a folder");
        std::fs::write(dir.join("main.tf"), text).expect("a file");
        let home = dir.join(".home").display().to_string();
        Self {
            dir,
            environment: vec![("HOME", home), ("CHECKPOINT_DISABLE", "1".to_owned()), ("PATH", "/usr/bin:/bin".to_owned())],
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs a command; answers whether it went well, and what it said.
    pub async fn run(&self, line: &str) -> (bool, String) {
        let mut command = Command::new(terraform());
        command.args(line.split_whitespace()).arg("-no-color").current_dir(&self.dir).kill_on_drop(true).env_clear();
        command.envs(self.environment.iter().cloned()).stdin(std::process::Stdio::null());
        let Output { status, stdout, stderr } =
            timeout(SOON, command.output()).await.unwrap_or_else(|_| panic!("{line} takes too long")).expect("it starts");
        (status.success(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
    }

    /// Runs a command that must go well.
    pub async fn ok(&self, line: &str) -> String {
        let (well, said) = self.run(line).await;
        assert!(well, "{line}: {said}");
        said
    }
}

async fn terraform_keeps_its_state_here(database: Database) {
    let world = world(database, "").await;
    let _runner = world.runner();
    let backend = "terraform {\n  backend \"http\" {}\n}\n";
    let mut by_hand = Terraform::new(&world, "by-hand", &format!("{backend}{MODULE}"));
    std::fs::write(by_hand.dir.join("terraform.tfvars"), "name = \"one\"\ntoken = \"canary-of-the-token\"\n").expect("a file");
    let address = format!("https://localhost:{}/state/v1/{WEB}", world.replica.state.port());
    let authority = std::fs::read_to_string(world.installation.pki.path("ca.crt")).expect("a certificate");
    by_hand.environment.extend([
        ("TF_HTTP_ADDRESS", address.clone()),
        ("TF_HTTP_LOCK_ADDRESS", address.clone()),
        ("TF_HTTP_UNLOCK_ADDRESS", address),
        ("TF_HTTP_USERNAME", "ci".to_owned()),
        ("TF_HTTP_PASSWORD", key(&world).await),
        ("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM", authority),
        ("TF_HTTP_RETRY_MAX", "0".to_owned()),
    ]);
    by_hand.ok("init -input=false").await;
    by_hand.ok("apply -input=false -auto-approve").await;
    let held: Vec<ManagedResource> = resources(&world.admin).await;
    assert_eq!(held.len(), 4, "{held:?}");
    let newest = world.admin.state().list_versions("shop/dev/web").collect_up_to(500).await.expect("versions").pop();
    assert!(newest.expect("there is one").create_principal.is_some_and(|who| who.ends_with("serviceAccounts/ci")));

    // Two writers: the second is told who the first is.
    world.person("acme", "ada", &["tenant-admin"]).await;
    let ada = Https::of(&world, "acme-ada");
    assert_eq!(ada.lock("of-ada").await.status, 200);
    let (well, said) = by_hand.run("apply -input=false -auto-approve").await;
    assert!(!well && said.contains("Error acquiring the state lock") && said.contains("ID=of-ada"), "{said}");
    by_hand.ok("force-unlock -force of-ada").await;
    assert_eq!(ada.write("of-ada", &content(99, "l", "")).await.status, 409);
    by_hand.ok("apply -input=false -auto-approve").await;

    // And the other way: what it made is what the deployment wants, and nothing is made twice.
    let run = ended(world.admin.runs().plan("shop/dev/web").auto_apply().send().await.expect("a run")).await;
    assert_eq!(run.outcome, Some(RunOutcome::NoChanges), "{run:?}");
    assert_eq!(resources(&world.admin).await, held);
}

both_databases!(terraform_keeps_its_state_here);

pub async fn resources(client: &Client) -> Vec<ManagedResource> {
    client.state().resources("shop/dev/web").collect_up_to(500).await.expect("resources")
}

async fn a_graph_is_drawn_in_three_languages(database: Database) {
    let world = world(database, "").await;
    let resource = |name: &str, keys: &[&str], needs: &[&str]| {
        let instance = |key: &Option<&str>| json!({ "index_key": key, "schema_version": 0, "attributes": { "id": format!("id of {name}") }, "dependencies": needs });
        let keys: Vec<Option<&str>> = if keys.is_empty() { vec![None] } else { keys.iter().copied().map(Some).collect() };
        json!({ "mode": "managed", "type": "terraform_data", "name": name, "provider": "provider[\"terraform.io/builtin/terraform\"]",
                "instances": keys.iter().map(instance).collect::<Vec<_>>() })
    };
    let state = json!({ "version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "l", "outputs": {}, "resources": [
        resource("first", &[], &[]),
        resource("last", &[], &["terraform_data.first", "terraform_data.many"]),
        resource("many", &["a", "b"], &["terraform_data.first"]),
    ]});
    world.admin.state().import("shop/dev/web", state.to_string().into_bytes()).send().await.expect("imported");
    for (format, golden) in [
        (GraphFormat::Json, include_str!("golden/resources.json")),
        (GraphFormat::Dot, include_str!("golden/resources.dot")),
        (GraphFormat::Mermaid, include_str!("golden/resources.mermaid")),
    ] {
        let drawn = world.admin.state().graph("shop/dev/web", format).send().await.expect("a graph");
        assert_eq!(drawn.trim_end(), golden.trim_end(), "{format}");
    }
}

both_databases!(a_graph_is_drawn_in_three_languages);

async fn an_earlier_state_is_written_again_by_a_run(database: Database) {
    let world = world(database, "").await;
    let _runner = world.runner();
    let acme = &world.admin;
    let apply = || async {
        let run = ended(acme.runs().plan("shop/dev/web").auto_apply().send().await.expect("a run")).await;
        assert_eq!(run.outcome, Some(RunOutcome::Succeeded), "{run:?}");
        run
    };
    let newest = || async {
        let content = acme.state().download("shop/dev/web").send().await.expect("a download").expect("a state");
        let content: Value = serde_json::from_slice(&content).expect("JSON");
        (content["serial"].as_u64().expect("a number"), content["lineage"].clone(), content["outputs"]["name"]["value"].clone())
    };
    apply().await;
    let first = versions(acme).await;
    let two = [("name".to_owned(), "two".into()), ("token".to_owned(), "t".into())].into_iter().collect();
    acme.deployments().update("shop/dev/web").inputs(two).send().await.expect("an update");
    apply().await;
    let (count, (serial, lineage, name)) = (versions(acme).await, newest().await);
    assert_eq!(name, "two");

    let run = acme.runs().restore_state("shop/dev/web", first).message("the second one was wrong").send().await.expect("a run");
    let run = timeout(SOON, run.wait_until(RunPhase::AwaitingApproval)).await.expect("in time").expect("it is planned");
    let plan = run.plan().await.expect("a plan");
    assert_eq!((run.run().kind, run.run().target_state_serial), (RunKind::Repair, Some(first)));
    assert!(
        plan.summary.as_ref().is_some_and(|numbers| numbers.update > 0),
        "with that state there is something to do: {plan:?}"
    );
    assert_eq!(versions(acme).await, count, "nothing is written before somebody has agreed");
    let run = ended(run.apply().send().await.expect("agreed")).await;
    assert_eq!((run.outcome, run.changed), (Some(RunOutcome::Succeeded), false), "{run:?}");
    let (restored, same, name) = newest().await;
    assert_eq!((versions(acme).await, restored, same, name), (count + 1, serial + 1, lineage, "one".into()));
    let web = acme.deployments().get("shop/dev/web").send().await.expect("it is there");
    assert_eq!(web.state, DeploymentState::Partial);
    let trail = acme.audit().list().collect_up_to(1000).await.expect("the trail");
    assert!(trail.iter().any(|record| record.method.ends_with("/RestoreState") && record.resource.starts_with(WEB)));

    // From there a run makes real what is wanted.
    assert!(apply().await.plan_summary.is_some_and(|numbers| numbers.update > 0 && numbers.create + numbers.replace == 0));
    let serial = versions(acme).await;
    for wrong in [0, serial, serial + 1] {
        let refused = acme.runs().restore_state("shop/dev/web", wrong).send().await.expect_err("no earlier version");
        assert!(refused.is_invalid_argument(), "{refused}");
    }
    let vic = world.person("acme", "vic", &["viewer"]).await;
    assert!(vic.runs().restore_state("shop/dev/web", first).send().await.expect_err("she may not").is_permission_denied());
}

both_databases!(an_earlier_state_is_written_again_by_a_run);
