//! A PostgreSQL server of its own for one test, on a socket in a temporary folder.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

/// A running server; it ends with this value.
pub struct Server {
    folder: tempfile::TempDir,
    process: Child,
}

impl Server {
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").expect("a folder");
        if is_root() {
            let user = account();
            chown(folder.path(), Some(user), None).expect("root may give a folder away");
        }
        let data = folder.path().join("data");
        let made = command("initdb")
            .args(["-D", &data.to_string_lossy(), "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"])
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        // Only the superuser comes in without a password, so that a login proves a password.
        fs::write(data.join("pg_hba.conf"), "local all postgres trust\nlocal all all scram-sha-256\n")
            .expect("the folder can be written");
        let socket = format!("unix_socket_directories={}", folder.path().display());
        let process = command("postgres")
            .args(["-D", &data.to_string_lossy(), "-c", "listen_addresses=", "-c", &socket])
            .args(["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=40"])
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres runs");
        let server = Self { folder, process };
        let begin = Instant::now();
        while let Err(error) = PgConnection::connect(&server.url("postgres", "postgres")).await {
            assert!(begin.elapsed() < Duration::from_secs(30), "the server does not come up: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    /// URL for a user, who may be `name:password` and has an empty password otherwise, and a database.
    pub fn url(&self, user: &str, database: &str) -> String {
        let colon = if user.contains(':') { "" } else { ":" };
        format!("postgres://{user}{colon}@localhost/{database}?host={}", self.folder.path().display())
    }

    pub async fn run(&self, database: &str, sql: &str) {
        let mut connection = PgConnection::connect(&self.url("postgres", database)).await.expect("a connection");
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect("good SQL");
        connection.close().await.expect("a clean end");
    }

    /// The first column of each row, as text.
    pub async fn column(&self, database: &str, sql: &str) -> Vec<String> {
        let mut connection = PgConnection::connect(&self.url("postgres", database)).await.expect("a connection");
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.expect("good SQL");
        connection.close().await.expect("a clean end");
        rows.iter().map(|row| row.get(0)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An immediate shutdown leaves no process behind, and its data is thrown away anyway.
        let data = self.folder.path().join("data");
        let _ = command("pg_ctl").args(["stop", "-m", "immediate", "-D", &data.to_string_lossy()]).output();
        let _ = self.process.wait();
    }
}

/// A program of PostgreSQL, run by the account `postgres` when we are root: the server refuses to run as root.
fn command(program: &str) -> Command {
    let path = binaries().join(program);
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"]).arg(path);
        command
    } else {
        Command::new(path)
    };
    command.current_dir("/tmp").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn binaries() -> PathBuf {
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let packaged = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    let mut packaged: Vec<PathBuf> = packaged.collect();
    packaged.sort();
    let found = on_path.into_iter().chain(packaged.into_iter().rev()).find(|folder| folder.join("initdb").exists());
    found.expect("PostgreSQL is not installed; install the server, for example with `apt-get install postgresql`")
}

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("proc is mounted").uid() == 0
}

fn account() -> u32 {
    let accounts = fs::read_to_string(Path::new("/etc/passwd")).expect("accounts can be read");
    let line = accounts.lines().find(|line| line.starts_with("postgres:")).expect("the package makes the account `postgres`");
    line.split(':').nth(2).and_then(|uid| uid.parse().ok()).expect("the third field is the uid")
}
