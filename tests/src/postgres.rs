//! One Postgres for all tests of a process, and a database of its own for each; or one that a test can take away.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{ConnectOptions as _, Executor as _, postgres::PgConnectOptions};

use crate::Process;

/// A server of databases.
pub struct Server {
    port: u16,
    dir: tempfile::TempDir,
    process: Mutex<Process>,
    _cleaner: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Makes an empty database; answers its URL.
pub async fn database() -> String {
    let server = SERVER.get_or_init(Server::start);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let options: PgConnectOptions = server.url("postgres").parse().expect("a URL");
    let mut connection = crate::eventually("Postgres", || options.connect()).await;
    // The owner is no superuser: to one, policies of rows mean nothing.
    let owner = connection.execute("CREATE ROLE freehold LOGIN").await;
    // It exists, or somebody else is making it at this moment.
    let there = |error: &sqlx::Error| {
        error.as_database_error().and_then(|error| error.code()).is_some_and(|code| ["42710", "23505"].contains(&&*code))
    };
    assert!(owner.as_ref().err().is_none_or(there), "{owner:?}");
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name} OWNER freehold"));
    connection.execute(create).await.expect("the superuser creates databases");
    url(server.port, "freehold", &name)
}

/// Process id of the server.
///
/// # Panics
/// When no test has asked for a database yet.
pub fn id() -> u32 {
    let server = SERVER.get().expect("a database was made before");
    server.process.lock().unwrap_or_else(PoisonError::into_inner).id()
}

fn url(port: u16, role: &str, database: &str) -> String {
    format!("postgres://{role}@127.0.0.1:{port}/{database}?sslmode=disable")
}

impl Server {
    /// Starts a server on a free port. It belongs to this process and ends with it, and its data goes with it: the kernel tells
    /// the server of the end of its parent, so a test that is killed leaves nothing behind.
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("freehold-pg-").tempdir().expect("a temporary folder");
        let cleaner = clean_up_after_this_process(dir.path());
        let data = dir.path().join("data");
        std::fs::create_dir(&data).expect("an empty folder");
        if is_root() {
            let given = Command::new("chown").arg("-R").arg("postgres").arg(dir.path()).status();
            assert!(given.is_ok_and(|status| status.success()), "Postgres does not run as root, and there is no user `postgres`");
        }
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("own folder");
        let mut initdb = as_postgres(tool("initdb"));
        let made = initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "-D"]).arg(&data).output();
        let made = made.expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let process = Mutex::new(run(&dir, port));
        Self { port, dir, process, _cleaner: cleaner }
    }

    /// Address of one of its databases, for the superuser.
    pub fn url(&self, database: &str) -> String {
        url(self.port, "postgres", database)
    }

    /// Ends it as a crash would: sessions end without a word, and the next start replays the log.
    pub fn kill(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.signal("QUIT");
        while process.ended().is_none() {
            std::thread::yield_now();
        }
    }

    /// Ends it with all its processes at once, as a loss of power does.
    pub fn cut_off(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let children = children(process.id());
        process.kill();
        for child in children {
            // One that has ended by itself is as good.
            let _ = Command::new("kill").args(["-KILL", &child]).stderr(Stdio::null()).status();
        }
    }

    /// Starts it again on its data.
    pub fn start_again(&self) {
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = run(&self.dir, self.port);
    }
}

/// Processes that this one has started.
fn children(parent: u32) -> Vec<String> {
    let stat = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    // After the name, which is in brackets, come the state and the parent.
    let is_child = |stat: &str| {
        let parent_of = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
        parent_of == Some(parent.to_string().as_str())
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    ids.filter(|pid| stat(pid).is_some_and(|stat| is_child(&stat))).collect()
}

/// Removes a folder when this process has ended, however it does: nobody drops what is static, and nothing is dropped by a kill.
/// What ends with it is the pipe that the shell reads from.
fn clean_up_after_this_process(dir: &Path) -> Child {
    let script = r#"trap '' INT TERM HUP; cat > /dev/null; until rm -rf "$0"; do sleep 1; done"#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(dir).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.spawn().expect("a shell")
}

/// Starts the program from a thread that never ends: to the kernel, the thread that starts a process is its parent.
fn run(dir: &tempfile::TempDir, port: u16) -> Process {
    let data = dir.path().join("data");
    let mut server = as_postgres(tool("postgres"));
    server.arg("-D").arg(&data).args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=400"]);
    server.arg("-c").arg(format!("unix_socket_directories={}", data.display()));
    let log = dir.path().join("log");
    let (started, process) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = started.send(Process::start(server, &log));
        loop {
            std::thread::park();
        }
    });
    process.recv().expect("Postgres starts")
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.starts_with(b"0"))
}

fn as_postgres(program: PathBuf) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if is_root() {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"]);
    }
    command.arg(program);
    command
}

/// A program of the newest Postgres on this machine.
fn tool(name: &str) -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin").join(name)))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    let on_path = || std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.exists());
    found.pop().or_else(on_path).unwrap_or_else(|| panic!("`{name}` of Postgres is missing; install the package `postgresql`"))
}
