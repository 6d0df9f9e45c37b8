//! Repositories, and a server of them: `git http-backend` behind plain HTTP.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What a client must show for what is below `/private/`.
pub const AUTHORIZATION: &str = "Basic Z2l0OnNlY3JldC1vZi1naXQ=";

/// A server of all repositories in a folder. What is asked for below `/moved/` is somewhere else, it says, and what is below
/// `/private/` it gives to who shows [`AUTHORIZATION`].
pub struct GitServer {
    /// Where it is.
    pub address: SocketAddr,
    root: PathBuf,
    asked: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl GitServer {
    /// Serves this folder, which it makes.
    pub async fn start(root: &Path) -> Self {
        fs::create_dir_all(root).expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::<AtomicUsize>::default();
        let (counter, folder) = (Arc::clone(&asked), root.to_owned());
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                let folder = folder.clone();
                // A client that hangs up in the middle has heard enough.
                tokio::spawn(async move { answer(stream, &folder).await });
            }
        });
        Self { address, root: root.to_owned(), asked, server }
    }

    /// How many requests came.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Address of a repository.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// Runs git in a repository, which it makes if need be; answers what it prints.
    pub fn git(&self, name: &str, arguments: &[&str]) -> String {
        let folder = self.root.join(name);
        let git = |arguments: &[&str]| {
            let mut command = isolated(Command::new("git"));
            command.current_dir(&folder).args(["-c", "user.name=test", "-c", "user.email=test@freehold.test"]);
            let done = command.args(["-c", "core.compression=0"]).args(arguments).output().expect("git is on the path");
            assert!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8_lossy(&done.stdout).trim().to_owned()
        };
        if !folder.exists() {
            fs::create_dir_all(&folder).expect("a folder");
            git(&["init", "--quiet"]);
        }
        git(arguments)
    }

    /// Adds files to a repository, and answers the name of the commit that they are in.
    pub fn commit(&self, name: &str, files: &[(&str, &[u8])]) -> String {
        self.git(name, &["status"]);
        for (path, content) in files {
            let path = self.root.join(name).join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, content).expect("a file");
        }
        self.git(name, &["add", "--all", "--force"]);
        self.git(name, &["commit", "--quiet", "--message=something"]);
        self.git(name, &["rev-parse", "HEAD"])
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Without the settings of whoever runs the test.
fn isolated(mut command: Command) -> Command {
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(Stdio::null());
    command
}

/// Answers one request by a call of `git http-backend` (RFC 3875).
async fn answer(stream: TcpStream, root: &Path) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let (mut head, mut line) = (Vec::new(), String::new());
    while stream.read_line(&mut line).await.ok()? > 0 && !line.trim_end().is_empty() {
        head.push(std::mem::take(&mut line).trim_end().to_owned());
    }
    let mut words = head.first()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let field = |name: &str| {
        let mut fields = head.iter().filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    if let Some(there) = target.strip_prefix("/moved/") {
        let answer = format!("HTTP/1.1 302 Found\r\nlocation: /{there}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return stream.write_all(answer.as_bytes()).await.ok();
    }
    let private = target.strip_prefix("/private");
    if private.is_some() && field("authorization") != AUTHORIZATION {
        let answer = "HTTP/1.1 401 Who?\r\nwww-authenticate: Basic\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return stream.write_all(answer.as_bytes()).await.ok();
    }
    let target = private.unwrap_or(target);
    let mut body = vec![0; field("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut backend = isolated(Command::new("git"));
    backend.arg("http-backend").env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1");
    backend.envs([("REQUEST_METHOD", method), ("PATH_INFO", path), ("QUERY_STRING", query)]);
    backend.env("CONTENT_TYPE", field("content-type")).env("CONTENT_LENGTH", body.len().to_string());
    backend.env("HTTP_GIT_PROTOCOL", field("git-protocol")).env("HTTP_CONTENT_ENCODING", field("content-encoding"));
    let mut backend = tokio::process::Command::from(backend);
    let mut backend =
        backend.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().ok()?;
    backend.stdin.take()?.write_all(&body).await.ok()?;
    let mut out = BufReader::new(backend.stdout.take()?);
    let (mut status, mut fields) = ("200 OK".to_owned(), String::new());
    let mut line = String::new();
    while out.read_line(&mut line).await.ok()? > 0 && !line.trim_end().is_empty() {
        match line.strip_prefix("Status: ") {
            Some(said) => status = said.trim_end().to_owned(),
            None => fields += &line,
        }
        line.clear();
    }
    stream.write_all(format!("HTTP/1.1 {status}\r\n{fields}connection: close\r\n\r\n").as_bytes()).await.ok()?;
    tokio::io::copy(&mut out, &mut stream).await.ok()?;
    stream.shutdown().await.ok()
}
