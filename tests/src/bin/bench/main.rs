//! `cargo xtask bench`: how fast Freehold is, as ratios to a bare server on the same machine in the same run.

mod events;
mod terraform;
mod webhooks;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use freehold::{Client, EnvironmentKind};
use freehold_tests::{Database, Installation, Process, World, binary, eventually, postgres};
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Executor as _, postgres::PgConnectOptions};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const GET: &str = "freehold.deployments.v1.DeploymentService/GetDeployment";
const LIST: &str = "freehold.deployments.v1.DeploymentService/ListDeployments";
const CREATE: &str = "freehold.tenants.v1.ProjectService/CreateProject";
const PROJECT: &str =
    r#"{"parent":"tenants/acme","project_id":"p{{n}}","project":{"display_name":"One"},"request_id":"{{uuid}}"}"#;
/// Whole runs that are counted.
const RUNS: usize = 60;
/// A run whose figures were spoilt by other processes is made again, so many times at most.
const TRIES: usize = 4;

/// Figures by name, as the load generator gives them.
struct Bench {
    xtask: PathBuf,
    seconds: String,
    dir: tempfile::TempDir,
    rows: Vec<(String, Value)>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut json_file = None;
    let mut seconds = "5".to_owned();
    let mut parts = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("every option has a value");
        match argument.as_str() {
            "--json" => json_file = Some(PathBuf::from(value()?)),
            "--seconds" => seconds = value()?,
            "calls" | "runs" | "events" | "start-up" => parts.push(argument),
            _ => {
                let known = "calls, runs, events, start-up, --json FILE and --seconds S";
                return Err(format!("{argument} is unknown; there are {known}").into());
            }
        }
    }
    let wants = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let beside = std::env::current_exe()?.with_file_name("xtask");
    let xtask = std::env::var_os("FREEHOLD_XTASK").map_or(beside, PathBuf::from);
    let mut bench = Bench { xtask, seconds, dir: tempfile::tempdir()?, rows: Vec::new() };
    if wants("calls") {
        bench.calls(Database::Sqlite).await?;
        bench.calls(Database::Postgres).await?;
    }
    if wants("runs") {
        bench.runs().await?;
        bench.terraform().await?;
    }
    if wants("events") {
        bench.events().await?;
    }
    if wants("start-up") {
        bench.start_up().await?;
    }
    let report = bench.report();
    if let Some(file) = json_file {
        std::fs::write(file, format!("{report:#}\n"))?;
    }
    Ok(())
}

impl Bench {
    /// Calls one method for a while.
    fn load(
        &mut self,
        name: &str,
        installation: &Installation,
        address: SocketAddr,
        call: &str,
        data: &str,
        pids: &[u32],
    ) -> Result<(), Failure> {
        let figures = self.dir.path().join("figures.json");
        let descriptors = self.dir.path().join("contract.bin");
        std::fs::write(&descriptors, freehold_proto::DESCRIPTOR_SET)?;
        for attempt in 1..=TRIES {
            let mut command = Command::new(&self.xtask);
            command.args(["load", "--address", &address.to_string(), "--call", call, "--data", data, "--seconds", &self.seconds]);
            for (option, file) in [("--ca", "ca.crt"), ("--cert", "admin.crt"), ("--key", "admin.key")] {
                command.arg(option).arg(installation.pki.path(file));
            }
            command.arg("--descriptor-set").arg(&descriptors).arg("--json").arg(&figures);
            for pid in pids {
                command.arg("--pid").arg(pid.to_string());
            }
            let ended = command.stdout(Stdio::null()).status()?;
            if ended.success() || (ended.code() == Some(3) && attempt == TRIES) {
                let figures: Value = serde_json::from_str(&std::fs::read_to_string(&figures)?)?;
                print_row(name, &figures);
                self.rows.push((name.to_owned(), figures));
                return Ok(());
            }
            if ended.code() != Some(3) {
                return Err(format!("{name}: the load generator ended with {ended}").into());
            }
            eprintln!("{name}: other processes took part of the machine; again");
        }
        Ok(())
    }

    /// Reads, lists and writes on one database, each beside its bare counterpart.
    async fn calls(&mut self, database: Database) -> Result<(), Failure> {
        let world = World::new(database).await.with_sample().await;
        let acme = &world.admin;
        for quota in ["projects", "deployments", "storage_bytes"] {
            acme.quotas().set_limit(quota, None).send().await?;
        }
        acme.deployments().create("shop/dev/web", "greeting@1.0.0").input("name", "world").send().await?;
        let (on, mut pids) = match database {
            Database::Sqlite => ("SQLite", Vec::new()),
            Database::Postgres => ("Postgres", vec![postgres::id()]),
        };
        let bare_url = match database {
            Database::Sqlite => format!("sqlite:{}", world.installation.path("bare.db").display()),
            Database::Postgres => postgres::database().await,
        };
        let (bare, address) = bare(&world.installation, &bare_url).await;
        let server = world.replica.process.id();

        let get = r#"{"name":"tenants/acme/projects/shop/environments/dev/deployments/web"}"#;
        pids.push(bare.id());
        if database == Database::Sqlite {
            self.load("bare echo", &world.installation, address, GET, get, &pids)?;
        }
        self.load(&format!("bare insert, {on}"), &world.installation, address, CREATE, PROJECT, &pids)?;
        pids.push(server);
        self.load(&format!("GetDeployment, {on}"), &world.installation, world.replica.api, GET, get, &pids)?;
        self.load(&format!("CreateProject, {on}"), &world.installation, world.replica.api, CREATE, PROJECT, &pids)?;
        if database == Database::Postgres {
            for count in [1_000, 100_000] {
                crowd(&world.installation.database_url, acme, count).await?;
                let list = format!(r#"{{"parent":"tenants/acme/projects/shop/environments/crowd-{count}","page_size":50}}"#);
                self.load(
                    &format!("ListDeployments, 50 of {count}"),
                    &world.installation,
                    world.replica.api,
                    LIST,
                    &list,
                    &pids,
                )?;
            }
        }
        Ok(())
    }

    /// Whole runs on the native engine: planned, applied without approval, four resources each.
    async fn runs(&mut self) -> Result<(), Failure> {
        for database in [Database::Sqlite, Database::Postgres] {
            let world = World::new(database).await.with_sample().await;
            let _runner = world.installation.runner(&[world.replica.runner], "runner", &["--capacity", "8"]);
            let acme = &world.admin;
            for number in 0..RUNS {
                acme.deployments().create(format!("shop/dev/d{number}"), "greeting@1.0.0").input("name", "world").send().await?;
            }
            let begun = Instant::now();
            let mut handles = Vec::new();
            for number in 0..RUNS {
                handles.push(acme.runs().plan(format!("shop/dev/d{number}")).auto_apply().send().await?);
            }
            for handle in handles {
                handle.wait_done().await?.into_result()?;
            }
            let rate = RUNS as f64 / begun.elapsed().as_secs_f64();
            let name = format!("native runs, {database:?}");
            println!("{name:32} {rate:10.1} runs/s");
            self.rows.push((name, json!({ "runs_per_second": rate })));
        }
        Ok(())
    }

    /// Time from the start of the process to its first readiness, on a data directory that exists, and memory when idle.
    async fn start_up(&mut self) -> Result<(), Failure> {
        let data = self.dir.path().join("dev");
        let mut times = Vec::new();
        let mut memory = 0;
        for _ in 0..6 {
            let _ = std::fs::remove_file(data.join("ready"));
            let mut command = Command::new(binary());
            command.arg("dev").arg("--data-dir").arg(&data);
            for listener in ["api", "web", "runner", "admin", "state"] {
                command.arg(format!("--{listener}-addr")).arg("127.0.0.1:0");
            }
            let begun = Instant::now();
            let process = Process::start(command, &self.dir.path().join("dev.log"));
            while !data.join("ready").exists() {
                if begun.elapsed() > Duration::from_secs(20) {
                    return Err(format!("dev does not become ready: {}", process.said()).into());
                }
                std::thread::sleep(Duration::from_micros(500));
            }
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            tokio::time::sleep(Duration::from_secs(1)).await;
            memory = resident(process.id())?;
        }
        // The first one has made keys and certificates.
        let mut known = times.split_off(1);
        known.sort_by(f64::total_cmp);
        let start = known[known.len() / 2];
        println!("{:32} {start:10.0} ms (the first, which makes keys: {:.0} ms)", "dev, start to ready", times[0]);
        println!("{:32} {:10.1} MiB", "dev with runner, idle", memory as f64 / 1024.0);
        let world = World::new(Database::Sqlite).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let serve = resident(world.replica.process.id())?;
        println!("{:32} {:10.1} MiB", "serve, idle", serve as f64 / 1024.0);
        self.rows.push(("start-up".to_owned(), json!({ "ready_ms": start, "first_ms": times[0] })));
        self.rows.push(("memory".to_owned(), json!({ "dev_kib": memory, "serve_kib": serve })));
        Ok(())
    }

    /// The ratios, beside what they should be.
    fn report(&self) -> Value {
        let figure = |name: &str| self.rows.iter().find(|(row, _)| row == name).map(|(_, figures)| figures);
        let rate = |name: &str| figure(name).and_then(|figures| figures["calls_per_second"].as_f64()).unwrap_or(f64::NAN);
        let latency = |name: &str| figure(name).and_then(|figures| figures["latency_ms"]["p50"].as_f64()).unwrap_or(f64::NAN);
        let memory = |name: &str| figure(name).and_then(|figures| figures["kib"].as_f64()).unwrap_or(f64::NAN);
        let lag = |name: &str| figure(name).and_then(|figures| figures["latency_ms"]["p99"].as_f64()).unwrap_or(f64::NAN);
        let terraform = |what: &str, database: &str| {
            latency(&format!("Terraform {what}, {database}"))
                / latency(&format!("Terraform {}, {database}", what.replace("runs", "by hand")))
        };
        let ratios = [
            ("GetDeployment, SQLite / bare echo", rate("GetDeployment, SQLite") / rate("bare echo"), "at least 0.8"),
            ("GetDeployment, Postgres / bare echo", rate("GetDeployment, Postgres") / rate("bare echo"), "at least 0.8"),
            (
                "ListDeployments, p50 of 100000 / of 1000",
                latency("ListDeployments, 50 of 100000") / latency("ListDeployments, 50 of 1000"),
                "at most 1.2",
            ),
            ("CreateProject / bare insert, SQLite", rate("CreateProject, SQLite") / rate("bare insert, SQLite"), "at least 0.6"),
            (
                "CreateProject / bare insert, Postgres",
                rate("CreateProject, Postgres") / rate("bare insert, Postgres"),
                "at least 0.6",
            ),
            ("event to watcher, SQLite, p99 in ms", lag("watchers, Sqlite"), "at most 50"),
            ("event to watcher, Postgres, p99 in ms", lag("watchers, Postgres"), "at most 50"),
            ("idle watcher, SQLite, KiB", memory("idle watcher, Sqlite"), "at most 40"),
            ("idle watcher, Postgres, KiB", memory("idle watcher, Postgres"), "at most 40"),
            ("Terraform run / by hand, SQLite", terraform("runs", "Sqlite"), "at most 1.5"),
            ("Terraform run / by hand, Postgres", terraform("runs", "Postgres"), "at most 1.5"),
            ("ten Terraform runs / by hand, SQLite", terraform("runs, ten at once", "Sqlite"), "at most 1.5"),
            ("ten Terraform runs / by hand, Postgres", terraform("runs, ten at once", "Postgres"), "at most 1.5"),
        ];
        let ratios: Vec<_> = ratios.into_iter().filter(|(_, ratio, _)| !ratio.is_nan()).collect();
        println!("\n{:44} {:>8}   goal", "ratio", "");
        for (name, ratio, goal) in &ratios {
            println!("{name:44} {ratio:8.2}   {goal}");
        }
        let rejected: Vec<&str> =
            self.rows.iter().filter(|(_, f)| f["rejected"].is_string()).map(|(name, _)| name.as_str()).collect();
        if !rejected.is_empty() {
            println!("\nSpoilt by other processes, so not to be believed: {}", rejected.join(", "));
        }
        let rows: serde_json::Map<String, Value> = self.rows.iter().cloned().collect();
        let ratios: serde_json::Map<String, Value> =
            ratios.iter().map(|(name, ratio, _)| ((*name).to_owned(), json!(ratio))).collect();
        json!({ "figures": rows, "ratios": ratios })
    }
}

fn print_row(name: &str, figures: &Value) {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    println!(
        "{name:32} {:10.0} calls/s   p50 {:7.2} ms   p99 {:7.2} ms   {:6.0} µs of CPU a call   {}",
        number(&figures["calls_per_second"]),
        number(&figures["latency_ms"]["p50"]),
        number(&figures["latency_ms"]["p99"]),
        number(&figures["cpu"]["server_us_per_call"]),
        figures["codes"],
    );
}

/// Starts the bare server; answers it and its address.
async fn bare(installation: &Installation, url: &str) -> (Process, SocketAddr) {
    let program = binary().with_file_name("freehold-bare");
    let mut command = Command::new(program);
    command.arg(installation.pki.path("")).arg(url);
    let process = Process::start(command, &installation.path("bare.log"));
    let address = eventually("the bare server", || {
        let said = process.said();
        async move { said.lines().next().and_then(|line| line.parse().ok()).ok_or(said) }
    })
    .await;
    (process, address)
}

/// Fills an environment with copies of a deployment, by SQL: so many calls would take as long as all else together.
async fn crowd(url: &str, acme: &Client, count: usize) -> Result<(), Failure> {
    let environment = format!("crowd-{count}");
    acme.environments().create(format!("shop/{environment}"), EnvironmentKind::Dev).send().await?;
    let mut connection = url.parse::<PgConnectOptions>()?.connect().await?;
    let copy = format!(
        "INSERT INTO deployments (tenant_id, uid, name, parent, blueprint, version, body)
         SELECT tenant_id, copy.uid, replace(name, '/dev/', '/{environment}/') || '-' || number,
                replace(parent, 'environments/dev', 'environments/{environment}'), blueprint, version,
                replace(replace(body, deployments.uid::text, copy.uid::text), '/environments/dev/deployments/web',
                        '/environments/{environment}/deployments/web-' || number)
         FROM deployments, (SELECT number, gen_random_uuid() AS uid FROM generate_series(1, {count}) AS number) AS copy
         WHERE name = 'tenants/acme/projects/shop/environments/dev/deployments/web'"
    );
    connection.execute(sqlx::AssertSqlSafe(copy)).await?;
    connection.execute("ANALYZE deployments").await?;
    Ok(())
}

/// Resident memory of a process, in KiB.
fn resident(pid: u32) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no VmRSS")?.parse()?)
}
