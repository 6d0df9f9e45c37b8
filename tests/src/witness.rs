//! A service that things are made in, and that writes down every request to make one before it answers.

use std::{
    collections::HashSet,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A request that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// `POST` or `PUT`.
    pub method: String,
    /// For example `/b`.
    pub path: String,
    /// Its `Idempotency-Key`.
    pub key: String,
}

/// The service, and its book: a file that outlives every process that is tested.
pub struct Witness {
    /// Where it is.
    pub url: String,
    book: PathBuf,
    held: watch::Sender<HashSet<String>>,
    broken: watch::Sender<HashSet<String>>,
    server: JoinHandle<()>,
}

impl Witness {
    /// Starts one that writes into this file.
    pub async fn start(book: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let file = Arc::new(Mutex::new(File::options().create(true).append(true).open(book).expect("the book can be written")));
        let held = watch::Sender::new(HashSet::new());
        let broken = watch::Sender::new(HashSet::new());
        let (gate, faults) = (held.clone(), broken.clone());
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that dies in the middle is what the test is about.
                tokio::spawn(answer(stream, Arc::clone(&file), gate.subscribe(), faults.subscribe()));
            }
        });
        Self { url, book: book.to_owned(), held, broken, server }
    }

    /// Lets requests of this path wait for their answer; they are written down all the same.
    pub fn hold(&self, path: &str) {
        self.held.send_if_modified(|held| held.insert(path.to_owned()));
    }

    /// Answers them.
    pub fn release(&self, path: &str) {
        self.held.send_if_modified(|held| held.remove(path));
    }

    /// Lets requests of this path fail with status 500, and make nothing; they are written down all the same.
    pub fn fail(&self, path: &str) {
        self.broken.send_if_modified(|broken| broken.insert(path.to_owned()));
    }

    /// Lets them succeed again.
    pub fn mend(&self, path: &str) {
        self.broken.send_if_modified(|broken| broken.remove(path));
    }

    /// Every request to make something, in the order of arrival.
    pub fn effects(&self) -> Vec<Effect> {
        let book = std::fs::read_to_string(&self.book).expect("the book can be read");
        let effect = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some(Effect { method: words.next()?, path: words.next()?, key: words.next()? })
        };
        book.lines().filter_map(effect).collect()
    }

    /// How many requests to make something came with this path.
    pub fn arrived(&self, path: &str) -> usize {
        self.effects().iter().filter(|effect| effect.path == path).count()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Answers the requests of one connection, one after the other.
async fn answer(
    stream: TcpStream,
    book: Arc<Mutex<File>>,
    mut held: watch::Receiver<HashSet<String>>,
    broken: watch::Receiver<HashSet<String>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            (stream.read_line(&mut line).await.ok()? > 0).then_some(())?;
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let mut words = head.first()?.split(' ').map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let header = |name: &str| {
            let mut fields = head.iter().filter_map(|line| line.split_once(": "));
            fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let mut body = vec![0; header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
        stream.read_exact(&mut body).await.ok()?;
        let (status, content) = if matches!(method.as_str(), "POST" | "PUT") {
            let key = header("idempotency-key").unwrap_or_default();
            write_down(&mut lock(&book), &format!("{method} {path} {key}\n"));
            held.wait_for(|held| !held.contains(&path)).await.ok()?;
            if broken.borrow().contains(&path) {
                // As badly behaved services do, it repeats what it was told.
                let told =
                    format!("out of order: {} {}", header("authorization").unwrap_or_default(), String::from_utf8_lossy(&body));
                ("500 Internal Server Error", serde_json::json!({ "message": told }).to_string())
            } else {
                ("201 Created", format!("{{\"id\":\"{}\"}}", path.trim_start_matches('/')))
            }
        } else {
            ("404 Not Found", "{}".to_owned())
        };
        let length = content.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{content}");
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

fn write_down(book: &mut File, line: &str) {
    book.write_all(line.as_bytes()).and_then(|()| book.sync_data()).expect("the book can be written");
}

fn lock(book: &Mutex<File>) -> MutexGuard<'_, File> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
