//! A small cloud: items by name, with an API of which Terraform's provider `shelf` is one client and a test is another.

use std::{
    collections::BTreeMap,
    env::consts,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Who may look, and who may change something.
pub const READER: &str = "reader-of-the-shelf";
/// Who may do both.
pub const WRITER: &str = "writer-of-the-shelf";
/// Where modules say that the provider comes from.
pub const SOURCE: &str = "freehold.test/tests/shelf";

#[derive(Default)]
struct Items {
    items: BTreeMap<String, (u64, String)>,
    made: u64,
    /// Requests of who may change something.
    writes: usize,
    /// Changes that a reader asked for.
    refused: usize,
}

/// The shelf.
pub struct Shelf {
    /// Where it is.
    pub address: SocketAddr,
    items: Arc<Mutex<Items>>,
    server: JoinHandle<()>,
}

impl Shelf {
    /// Starts an empty one.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let items = Arc::<Mutex<Items>>::default();
        let shared = Arc::clone(&items);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that dies in the middle has changed nothing.
                tokio::spawn(answer(stream, Arc::clone(&shared)));
            }
        });
        Self { address, items, server }
    }

    /// The options of a runner that reaches it: with one identity to look, with another to change.
    pub fn options(&self, dir: &Path, provider: &Path) -> Vec<String> {
        let mirror = dir.join("providers");
        fs::create_dir_all(&mirror).expect("a folder");
        publish(&mirror, "1.0.0", provider);
        let environment = |token: &str| {
            let file = dir.join(token);
            fs::write(&file, format!("SHELF_ADDRESS={}\nSHELF_TOKEN={token}\n", self.address)).expect("a file");
            file.display().to_string()
        };
        let options = [
            ("--provider-mirror", mirror.display().to_string()),
            ("--read-env", environment(READER)),
            ("--write-env", environment(WRITER)),
            ("--egress", self.address.to_string()),
        ];
        options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// Everything on it.
    pub fn items(&self) -> BTreeMap<String, String> {
        self.lock().items.iter().map(|(name, (_, content))| (name.clone(), content.clone())).collect()
    }

    /// Requests, of any kind, with the identity that may change something.
    pub fn writes(&self) -> usize {
        self.lock().writes
    }

    /// Changes that were asked for by somebody who may only look.
    pub fn refused(&self) -> usize {
        self.lock().refused
    }

    /// Somebody changes an item, or removes it, outside of everything.
    pub fn vandalise(&self, name: &str, content: Option<&str>) {
        let mut shelf = self.lock();
        let (id, _) = shelf.items.remove(name).expect("it is there");
        if let Some(content) = content {
            shelf.items.insert(name.to_owned(), (id, content.to_owned()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Items> {
        lock(&self.items)
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Puts this program into a mirror as the provider `shelf` of a version.
pub fn publish(mirror: &Path, version: &str, provider: &Path) {
    let machine = match consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let folder = mirror.join(SOURCE).join(version).join(format!("{}_{machine}", consts::OS));
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join(format!("terraform-provider-shelf_v{version}"));
    if fs::hard_link(provider, &file).is_err() {
        fs::copy(provider, &file).expect("the provider can be copied");
    }
}

fn lock(items: &Mutex<Items>) -> MutexGuard<'_, Items> {
    items.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers one request.
async fn answer(stream: TcpStream, items: Arc<Mutex<Items>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let (mut head, mut line) = (Vec::new(), String::new());
    while stream.read_line(&mut line).await.ok()? > 0 && !line.trim_end().is_empty() {
        head.push(std::mem::take(&mut line).trim_end().to_owned());
    }
    let mut words = head.first()?.split(' ');
    let (method, name) = (words.next()?, words.next()?.strip_prefix('/')?.to_owned());
    let field = |name: &str| head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let mut content = vec![0; field("content-length")?.parse().ok()?];
    stream.read_exact(&mut content).await.ok()?;
    let content = String::from_utf8(content).ok()?;
    let (status, body) = {
        let mut shelf = lock(&items);
        let token = field("authorization")?;
        shelf.writes += usize::from(token == WRITER);
        match (method, token) {
            ("GET", READER | WRITER) => match shelf.items.get(&name) {
                Some((id, content)) => ("200", format!("{id}\n{content}")),
                None => ("404", String::new()),
            },
            ("PUT", WRITER) => {
                shelf.made += 1;
                let made = shelf.made;
                let (id, held) = shelf.items.entry(name).or_insert((made, String::new()));
                *held = content;
                ("200", id.to_string())
            }
            ("DELETE", WRITER) => {
                shelf.items.remove(&name);
                ("200", String::new())
            }
            _ => {
                shelf.refused += 1;
                ("403", "this token may only look".to_owned())
            }
        }
    };
    let answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}
