//! A secret of its own in every place that holds one, through a life of a deployment with all logging on; then each is looked for
//! wherever it must not be. What is no secret is looked for in the same way, and must be found.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold::{BlueprintFile, Client, Run, RunHandle, RunOutcome, Timestamp};
use freehold_tests::{Database, Installation, Process, binary, endpoint};
use futures::TryStreamExt as _;
use sqlx::{ConnectOptions as _, Row as _};
use tokio::time::timeout;
use uuid::Uuid;

const BLUEPRINT: &str = r#"
apiVersion: freehold.dev/v1
engine: terraform
module:
  variables:
    plain: ${inputs.plain}
    token: ${inputs.token}
    kept: ${inputs.kept}
inputs:
  required: [plain, token, kept]
  properties:
    plain: { type: string }
    token: { type: string, sensitive: true }
    kept: { type: string, sensitive: true }
"#;

/// Its program is given a secret in its environment and says all that it knows.
const MODULE: &str = r#"
variable "plain" { type = string }
variable "token" { sensitive = true }
variable "kept" { sensitive = true }
resource "terraform_data" "first" {
  input = { plain = var.plain, kept = var.kept }
  provisioner "local-exec" {
    command     = "echo $PLAIN; echo $TOKEN; echo $TOKEN >&2; env; FAILS"
    environment = { PLAIN = var.plain, TOKEN = nonsensitive(var.token) }
  }
}
output "secret" {
  value     = "out-${var.token}"
  sensitive = true
}
"#;

pub fn canary(what: &str) -> String {
    format!("{what}{}", Uuid::now_v7().simple())
}

/// What is looked for, each with its name.
#[derive(Default)]
pub struct Canaries(Vec<(&'static str, String)>);

impl Canaries {
    fn add(&mut self, what: &'static str) -> String {
        let secret = canary("canary");
        self.0.push((what, secret.clone()));
        secret
    }

    pub fn know(&mut self, what: &'static str, secret: &str) {
        assert!(secret.len() >= 12, "{what} is too short to be looked for");
        self.0.push((what, secret.to_owned()));
    }

    /// Those that are in these bytes: as they are, in hexadecimal, or in base64 wherever they begin.
    pub fn found_in(&self, bytes: &[u8]) -> BTreeSet<&'static str> {
        let text = String::from_utf8_lossy(bytes).to_lowercase();
        let raw = String::from_utf8_lossy(bytes);
        self.0
            .iter()
            .filter(|(_, secret)| forms(secret).iter().any(|form| raw.contains(form.as_str())) || text.contains(&hex(secret)))
            .map(|(what, _)| *what)
            .collect()
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn forms(secret: &str) -> Vec<String> {
    // Of the first and last characters some bits belong to what is beside it.
    let shifted = |by: usize| {
        let coded = STANDARD.encode([vec![b'x'; by], secret.as_bytes().to_vec()].concat());
        coded[4..coded.len() - 4].to_owned()
    };
    (0..3).map(shifted).chain([secret.to_owned()]).collect()
}

/// Arguments of all processes of the machine, looked at again and again.
struct Arguments {
    seen: Arc<Mutex<BTreeSet<Vec<u8>>>>,
    over: Arc<AtomicBool>,
}

impl Arguments {
    fn watch() -> Self {
        let (seen, over) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(AtomicBool::new(false)));
        let (lines, end) = (Arc::clone(&seen), Arc::clone(&over));
        std::thread::spawn(move || {
            while !end.load(Ordering::SeqCst) {
                for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
                    if let Ok(line) = fs::read(process.path().join("cmdline")) {
                        lines.lock().expect("not poisoned").insert(line);
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { seen, over }
    }

    fn end(self) -> Vec<u8> {
        self.over.store(true, Ordering::SeqCst);
        self.seen.lock().expect("not poisoned").iter().flatten().copied().collect()
    }
}

fn module(fails: bool) -> Vec<BlueprintFile> {
    let main = MODULE.replace("FAILS", if fails { "exit 3" } else { "true" });
    vec![BlueprintFile::new("blueprint.yaml", BLUEPRINT), BlueprintFile::new("main.tf", main)]
}

/// A file that only its owner reads.
fn private(path: PathBuf, content: &str) -> PathBuf {
    fs::write(&path, content).expect("the folder is there");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("own file");
    path
}

/// Everything below this folder.
fn contents(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => all.extend(contents(&path)),
            false => all.extend(fs::read(path).unwrap_or_default()),
        }
    }
    all
}

/// The rows of every table as the superuser sees them, or the database's own files.
pub async fn database(installation: &Installation) -> Vec<u8> {
    let Some((_, rest)) = installation.database_url.split_once('@') else {
        let files = fs::read_dir(installation.dir.path()).expect("the folder can be read").flatten().map(|entry| entry.path());
        let own = files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("freehold.db")));
        return own.flat_map(|path| fs::read(path).expect("it can be read")).collect();
    };
    let options: sqlx::postgres::PgConnectOptions = format!("postgres://postgres@{rest}").parse().expect("a URL");
    let mut session = options.connect().await.expect("a session");
    let tables = sqlx::query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetch_all(&mut session).await;
    let mut all = Vec::new();
    for table in tables.expect("the tables") {
        let rows = sqlx::AssertSqlSafe(format!("SELECT CAST(t AS TEXT) FROM {} AS t", table.get::<String, _>(0)));
        for row in sqlx::query(rows).fetch_all(&mut session).await.expect("the rows") {
            all.extend(row.get::<String, _>(0).into_bytes());
        }
    }
    all
}

async fn ended(run: RunHandle) -> RunHandle {
    timeout(Duration::from_secs(60), run.wait_done()).await.expect("it ends").expect("it can be followed")
}

both_databases!(canaries_are_found_nowhere_but_where_they_belong);

async fn canaries_are_found_nowhere_but_where_they_belong(on: Database) {
    let mut secrets = Canaries::default();
    let mut controls = Canaries::default();
    let mut installation = Installation::new(on).await;
    // The database trusts whoever comes, and the password goes along all the same.
    let password = secrets.add("the password of the database");
    installation.database_url = installation.database_url.replace("freehold@", &format!("freehold:{password}@"));
    let master = &secrets.add("the master key")[..32];
    secrets.0.last_mut().expect("it was added").1 = master.to_owned();
    fs::write(installation.path("master.key"), master).expect("the folder is there");
    let arguments = Arguments::watch();
    let mut replica = installation.start(by_environment(&installation)).await;
    let acme = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    acme.tenants().create("acme").send().await.expect("a tenant");

    let soon = Timestamp::now() + Duration::from_secs(3600);
    acme.service_accounts().create("ci").send().await.expect("a service account");
    let key = acme.api_keys().create("serviceAccounts/ci", soon).send().await.expect("a key");
    secrets.know("an API key", key.secret.reveal());
    let token = acme.runner_pools().create_token("default", soon).send().await.expect("a token");
    secrets.know("a registration token", token.secret.reveal());
    let shown_once = format!("{key:?} {token:?}");

    // A runner that joins by the token, with credentials of its own for both kinds of programs.
    let name = canary("control");
    controls.know("the name of the runner", &name);
    let label = canary("control");
    controls.know("a label of the runner", &label);
    let mut command = Command::new(binary());
    command.args(["runner", "--endpoint", &endpoint(replica.runner), "--allow-private", "--name", &name, "--ca"]);
    command.arg(installation.pki.path("ca.crt")).arg("--file-root").arg(installation.path("files"));
    command.arg("--terraform").arg(freehold_tests::terraform()).arg("--label").arg(format!("note={label}"));
    command.arg("--data-dir").arg(installation.path("runner"));
    command.arg("--token-file").arg(private(installation.path("token"), token.secret.reveal()));
    let read = format!("READER={}\n", secrets.add("what programs that plan are given"));
    let write = format!("WRITER={}\n", secrets.add("what programs that make changes are given"));
    command.arg("--read-env").arg(private(installation.path("read.env"), &read));
    command.arg("--write-env").arg(private(installation.path("write.env"), &write));
    command.env("RUST_LOG", "trace");
    let mut runner = Process::start(command, &installation.path("runner.log"));

    let project = canary("control");
    controls.know("a name", &project);
    acme.projects().create(&project[..40.min(project.len())]).send().await.expect("a project");
    let environment = format!("{project}/dev");
    acme.environments().create(&environment, freehold::EnvironmentKind::Dev).send().await.expect("an environment");
    let (plain, input, kept) =
        (canary("control"), secrets.add("a sensitive input"), secrets.add("a sensitive value in plan and state"));
    controls.know("an input that is not sensitive", &plain);
    let mut shown = vec![shown_once];
    for (name, fails) in [("good", false), ("bad", true)] {
        acme.blueprints().create(name).send().await.expect("a blueprint");
        let draft = acme.blueprints().write_draft(name, module(fails)).send().await.expect("a draft");
        acme.blueprints().publish(format!("{name}@1.0.0"), &draft.blueprint_draft.etag).send().await.expect("it is published");
        let deployment = format!("{environment}/{name}");
        let refused = acme.deployments().create(&deployment, format!("{name}@1.0.0")).input("plain", plain.as_str());
        let refused = refused.input("token", serde_json::json!([input])).input("kept", kept.as_str()).send().await;
        shown.push(format!("{:?}", refused.expect_err("a list is no text")));
        let made = acme.deployments().create(&deployment, format!("{name}@1.0.0")).input("plain", plain.as_str());
        let made = made.input("token", input.as_str()).input("kept", kept.as_str()).send().await.expect("a deployment");
        shown.push(format!("{made:?}"));
        let run = ended(acme.runs().plan(&deployment).auto_apply().send().await.expect("a run")).await;
        let expected = if fails { RunOutcome::Failed } else { RunOutcome::Succeeded };
        assert_eq!(run.run().outcome, Some(expected), "{:?}", run.run());
        look(&acme, &deployment, &run, &mut shown).await;
        if !fails {
            let drift = ended(acme.runs().detect_drift(&deployment).send().await.expect("a run")).await;
            look(&acme, &deployment, &drift, &mut shown).await;
            let gone = ended(acme.runs().destroy(&deployment).auto_apply().send().await.expect("a run")).await;
            look(&acme, &deployment, &gone, &mut shown).await;
        }
    }
    note(&mut shown, "audit", &acme.audit().list().collect_up_to(1000).await.expect("the trail"));
    note(&mut shown, "receipts", &acme.receipts().list().collect_up_to(100).await.expect("receipts"));
    note(&mut shown, "keys", &acme.api_keys().list().collect_up_to(100).await.expect("keys"));
    note(&mut shown, "tokens", &acme.runner_pools().list_tokens("default").collect_up_to(100).await.expect("tokens"));
    note(&mut shown, "runners", &acme.runner_pools().list_runners("default").collect_up_to(100).await.expect("runners"));

    for process in [&mut runner, &mut replica.process] {
        process.signal("TERM");
        process.wait().await;
    }
    let own_key = private_key(&contents(&installation.path("runner")));
    let in_folder = secrets.found_in(&contents(&installation.path("runner")));
    secrets.know("the runner's private key", &own_key);
    secrets.know("the server's private key", &private_key(&fs::read(installation.pki.path("server.key")).expect("a key")));
    secrets.know("the authority's private key", &private_key(&fs::read(installation.pki.path("ca.key")).expect("a key")));
    let places: [(&str, Vec<u8>, &[&str]); 5] = [
        ("the log of the server", replica.process.said().into_bytes(), &["the name of the runner"]),
        ("the log of the runner", runner.said().into_bytes(), &["the name of the runner"]),
        (
            "what the API shows",
            shown.join("\n").into_bytes(),
            &["a name", "an input that is not sensitive", "a label of the runner"],
        ),
        ("the database", database(&installation).await, &["a name"]),
        ("the arguments of processes", arguments.end(), &["a label of the runner"]),
    ];
    let mut found = in_folder.len();
    let mut wrong: Vec<String> = in_folder.iter().map(|what| format!("{what} is in the runner's folder")).collect();
    let mut size = 0;
    for (place, bytes, known) in &places {
        size += bytes.len();
        let seen = secrets.found_in(bytes);
        found += seen.len();
        wrong.extend(seen.iter().map(|what| format!("{what} is in {place}")));
        let seen = controls.found_in(bytes);
        wrong.extend(
            known.iter().filter(|what| !seen.contains(**what)).map(|what| format!("{what} is no secret, and is not in {place}")),
        );
    }
    println!("{} canaries in {} places of {} KiB: found {found}", secrets.0.len(), places.len() + 1, size >> 10);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The server with everything logged, and with its database in its environment: everybody may read arguments.
fn by_environment(installation: &Installation) -> Command {
    let serve = installation.serve(&[]);
    let mut arguments: Vec<_> = serve.get_args().collect();
    let place = arguments.iter().position(|argument| *argument == "--database-url").expect("an option of every replica");
    arguments.drain(place..place + 2);
    let mut command = Command::new(binary());
    command.args(arguments).env("RUST_LOG", "trace").env("FREEHOLD_DATABASE_URL", &installation.database_url);
    command
}

/// The line in the middle of the first private key in these bytes.
fn private_key(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let (_, body) = text.split_once("PRIVATE KEY-----\n").expect("a private key");
    body.lines().next().expect("a line of it").to_owned()
}

pub fn note(shown: &mut Vec<String>, what: &str, answer: &impl Debug) {
    shown.push(format!("{what}: {answer:?}"));
}

/// Everything that the API shows of a run and what it was about.
pub async fn look(acme: &Client, deployment: &str, run: &RunHandle, shown: &mut Vec<String>) {
    let now: &Run = run.run();
    note(shown, "run", now);
    note(shown, "plan", &run.plan().await);
    note(shown, "explanation", &run.explain().send().await);
    let lines: Vec<_> = run.logs_so_far().try_collect().await.expect("a log");
    note(shown, "log", &lines);
    note(shown, "outputs", &acme.state().outputs(deployment).send().await);
    note(shown, "states", &acme.state().list_versions(deployment).collect_up_to(100).await);
    note(shown, "drift", &acme.drift().items(deployment).list().send().await);
    note(shown, "deployment", &acme.deployments().get(deployment).send().await);
}
