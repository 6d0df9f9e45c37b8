//! What goes wrong around a server: one clear line and an exit code when it cannot start; a clear answer, nothing half written
//! and recovery by itself when it happens later.

use std::{net::TcpListener, process::Command, time::Duration};

use freehold::{Client, Code};
use freehold_tests::{
    Database::{self, Sqlite},
    Installation, Process, Replica, armed, binary, postgres, until,
};
use sqlx::ConnectOptions as _;

use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

/// Runs a command that must fail; it says why in one line.
fn refusal(mut command: Command) -> String {
    let output = command.env_remove("RUST_LOG").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("freehold: ") && said.lines().count() == 1, "one line, from the program: {said}");
    assert!(output.stdout.is_empty());
    said
}

fn expect(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "`{word}` is missing in: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_start_says_why_in_one_line() {
    let installation = Installation::new(Sqlite).await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    expect(&refusal(installation.serve(&["--api-addr", &address])), &["cannot listen on", &address]);

    let file = |name: &str, content: &[u8]| {
        let path = installation.path(name);
        std::fs::write(&path, content).expect("the folder can be written");
        path.display().to_string()
    };
    let short = file("short.key", &[1; 31]);
    expect(&refusal(with(&installation, "--master-key", &short)), &[&short, "31 bytes instead of 32"]);
    let garbled = file("garbled.crt", b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n");
    expect(&refusal(with(&installation, "--tls-cert", &garbled)), &[&garbled]);
    expect(&refusal(with(&installation, "--tls-cert", "/nowhere/server.crt")), &["/nowhere/server.crt"]);

    // Nobody listens where somebody did.
    drop(taken);
    let nowhere = format!("postgres://freehold@{address}/freehold");
    expect(&refusal(with(&installation, "--database-url", &nowhere)), &[&address, "cannot be opened"]);
}

/// The command of a replica with another value of an option.
fn with(installation: &Installation, option: &str, value: &str) -> Command {
    let serve = installation.serve(&[]);
    let mut arguments: Vec<_> = serve.get_args().map(ToOwned::to_owned).collect();
    let place = arguments.iter().position(|argument| argument == option).expect("an option of every replica");
    arguments[place + 1] = value.into();
    let mut command = Command::new(serve.get_program());
    command.args(arguments);
    command
}

both_databases!(a_database_of_a_newer_version_is_refused_and_left_alone);

async fn a_database_of_a_newer_version_is_refused_and_left_alone(database: Database) {
    let installation = Installation::new(database).await;
    let mut replica = installation.replica(&[]).await;
    replica.process.signal("TERM");
    replica.process.wait().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 SELECT 9999, 'of tomorrow', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
    installation.execute(newer).await;
    expect(&refusal(installation.serve(&[])), &["newer version of Freehold", "9999"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dev = || {
        let mut command = Command::new(binary());
        command.args(["dev", "--data-dir"]).arg(dir.path().join("data"));
        for listener in ["api", "web", "runner", "admin"] {
            command.arg(format!("--{listener}-addr")).arg("127.0.0.1:0");
        }
        command
    };
    let mut first = Process::start(dev(), &dir.path().join("log"));
    let ready = dir.path().join("data/ready");
    until("the first one", || {
        assert!(first.ended().is_none(), "{}", first.said());
        let there = ready.exists();
        async move { there }
    })
    .await;
    expect(&refusal(dev()), &["another process is using the data directory", "data"]);
    assert!(first.ended().is_none(), "the first one goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_database_goes_away_says_so_and_recovers_by_itself() {
    let database = tokio::task::spawn_blocking(postgres::Server::start).await.expect("a database");
    let url = database.url("postgres");
    let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
    drop(freehold_tests::eventually("Postgres", || options.connect()).await);
    let mut installation = Installation::new(Sqlite).await;
    installation.database_url = url;
    let replica = installation.replica(&[]).await;
    let admin = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    admin.tenants().create("acme").send().await.expect("a tenant");
    admin.projects().create("before").send().await.expect("a project");
    assert_eq!(health(&replica).await, ServingStatus::Serving);

    database.kill();
    until("the news in the health service", || async { health(&replica).await == ServingStatus::NotServing }).await;
    let refused = admin.projects().create("during").send().await.expect_err("there is no database");
    assert_eq!((refused.code(), refused.reason()), (Code::Unavailable, Some("DEPENDENCY_DOWN")), "{refused:?}");

    database.start_again();
    until("the server's recovery", || async { health(&replica).await == ServingStatus::Serving }).await;
    admin.projects().get("before").send().await.expect("what was acknowledged is there");
    whole(&admin, &["before"]).await;
    admin.projects().create("during").send().await.expect("the same again");
    whole(&admin, &["before", "during"]).await;
}

async fn health(replica: &Replica) -> ServingStatus {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", replica.admin)).expect("a URL");
    let mut client = HealthClient::new(endpoint.connect().await.expect("the admin listener"));
    client.check(HealthCheckRequest::default()).await.expect("an answer").into_inner().status()
}

/// These are the projects, and their counter agrees.
async fn whole(admin: &Client, projects: &[&str]) {
    let found = admin.projects().list().collect_up_to(100).await.expect("a list");
    let names: Vec<_> = found.iter().filter_map(|project| project.name.rsplit('/').next()).collect();
    assert_eq!(names, projects);
    assert_eq!(admin.quotas().recount("projects").send().await.expect("a recount").difference, 0);
}

/// A limit on the size of its files stands for the end of the disk: every write beyond it fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_keeps_reads_and_recovers_by_itself() {
    let installation = Installation::new(Sqlite).await;
    let serve = installation.serve(&[]);
    let mut ignoring = Command::new("env");
    // The system's default for a write beyond the limit is to end the process; a full disk does not do that.
    ignoring.arg("--ignore-signal=XFSZ").arg(serve.get_program()).args(serve.get_args());
    let replica = installation.start(ignoring).await;
    let admin = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    admin.tenants().create("acme").send().await.expect("a tenant");
    admin.projects().create("before").send().await.expect("a project");

    let journal = installation.path("freehold.db-wal").metadata().expect("the journal").len();
    limit_files(&replica, &format!("{journal}:"));
    let refused = admin.projects().create("during").send().await.expect_err("there is no room");
    assert_eq!((refused.code(), refused.reason()), (Code::Unavailable, Some("DEPENDENCY_DOWN")), "{refused:?}");
    admin.projects().get("before").send().await.expect("reads need no room");

    limit_files(&replica, "unlimited:");
    admin.projects().create("during").deadline(Duration::from_secs(20)).send().await.expect("there is room again");
    whole(&admin, &["before", "during"]).await;
    drop(replica);
    let replica = installation.replica(&[]).await;
    let admin = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    whole(&admin, &["before", "during"]).await;
}

fn limit_files(replica: &Replica, size: &str) {
    let set = Command::new("prlimit").args(["--pid", &replica.process.id().to_string(), &format!("--fsize={size}")]).status();
    assert!(set.is_ok_and(|status| status.success()), "prlimit (of util-linux) does not set the limit {size}");
}

/// Sixteen tries at a limit of four fit more than four when the counter is not asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_without_its_condition_is_noticed() {
    for (variables, fits) in [(&[][..], true), (&[("FREEHOLD_MUTANT", "quota")][..], false)] {
        let installation = Installation::new(Sqlite).await;
        let replica = installation.start(armed(&installation.serve(&[]), variables)).await;
        let admin = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
        admin.tenants().create("acme").send().await.expect("a tenant");
        admin.quotas().set_limit("projects", 4).send().await.expect("a limit");
        let tries = (0..16).map(|number| admin.projects().create(format!("p-{number}")).send());
        let made = futures::future::join_all(tries).await.into_iter().filter(Result::is_ok).count();
        assert_eq!(made == 4, fits, "{made} projects at a limit of 4, {variables:?}");
    }
}
