//! A server of NATS with JetStream, and somebody who reads its stream.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::{
    ConnectOptions,
    jetstream::{self, consumer::pull},
};
use futures::StreamExt as _;
use serde_json::Value;
use tokio::{net::TcpSocket, task::JoinHandle, time::timeout};

use crate::{Installation, Process, tools::nats_server};

/// How long a server that is there may take for its next message; it says within that there is none.
const SILENCE: Duration = Duration::from_secs(10);

/// The server, which lets in whoever has a certificate of the installation's authority.
pub struct Nats {
    /// Where it is; the same after each start.
    pub address: SocketAddr,
    /// The process.
    pub process: Process,
    dir: PathBuf,
    _reserved: TcpSocket,
}

impl Nats {
    /// Starts one beside an installation.
    pub fn start(installation: &Installation) -> Self {
        Self::configured(installation, "")
    }

    /// One with more lines in its configuration.
    pub fn configured(installation: &Installation, lines: &str) -> Self {
        let dir = installation.path("nats");
        fs::create_dir_all(&dir).expect("the folder can be made");
        installation.pki.issue("nats", "server/nats");
        // Beside a socket that does not listen, one that does can be bound (`SO_REUSEADDR`, socket(7)).
        let reserved = TcpSocket::new_v4().expect("a socket");
        reserved.set_reuseaddr(true).expect("an option");
        reserved.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let address = reserved.local_addr().expect("an address");
        let file = |name: &str| installation.pki.path(name).display().to_string();
        let (ca, cert, key) = (file("ca.crt"), file("nats.crt"), file("nats.key"));
        let store = dir.join("store").display().to_string();
        let configuration = format!(
            "listen: \"{address}\"\njetstream {{\n  store_dir: \"{store}\"\n}}\n\
             tls {{\n  ca_file: \"{ca}\"\n  cert_file: \"{cert}\"\n  key_file: \"{key}\"\n  verify: true\n}}\n{lines}\n"
        );
        fs::write(dir.join("nats.conf"), configuration).expect("the folder can be written");
        let process = Self::process(&dir);
        Self { address, process, dir, _reserved: reserved }
    }

    fn process(dir: &std::path::Path) -> Process {
        let mut command = Command::new(nats_server());
        command.arg("--config").arg(dir.join("nats.conf"));
        Process::start(command, &dir.join("nats.log"))
    }

    /// Starts it again after it was killed.
    pub fn again(&mut self) {
        self.process.kill();
        self.process = Self::process(&self.dir);
    }

    /// Removes everything that it has stored. It must not run.
    pub fn wipe(&self) {
        fs::remove_dir_all(self.dir.join("store")).expect("it has stored something");
    }

    /// Options of a server that publishes to it.
    pub fn options(&self, installation: &Installation) -> Vec<String> {
        let file = |name: &str| installation.pki.path(name).display().to_string();
        let mut options = vec!["--nats-url".to_owned(), format!("tls://{}", self.address)];
        for (option, name) in [("--nats-ca", "ca.crt"), ("--nats-cert", "server.crt"), ("--nats-key", "server.key")] {
            options.extend([option.to_owned(), file(name)]);
        }
        options
    }

    /// A connection with the administrator's certificate.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn connect(&self, installation: &Installation) -> Result<jetstream::Context, async_nats::Error> {
        connect(self.address, &Keys::of(installation)).await
    }

    /// Consumes what the stream has under subjects that begin so, from its beginning, and again from there after each loss of the
    /// connection, until it is dropped.
    pub fn read(&self, installation: &Installation, filter: &str) -> Subscriber {
        let told: Arc<Mutex<Told>> = Arc::default();
        let (address, keys, filter, news) = (self.address, Keys::of(installation), filter.to_owned(), Arc::clone(&told));
        let task = tokio::spawn(async move {
            loop {
                let _ = follow(address, &keys, &filter, &news).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Subscriber { told, task }
    }
}

struct Keys {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Keys {
    fn of(installation: &Installation) -> Self {
        let [ca, certificate, key] = ["ca.crt", "admin.crt", "admin.key"].map(|file| installation.pki.path(file));
        Self { ca, certificate, key }
    }
}

async fn connect(address: SocketAddr, keys: &Keys) -> Result<jetstream::Context, async_nats::Error> {
    let options = ConnectOptions::new().add_root_certificates(keys.ca.clone()).max_reconnects(1);
    let options = options.add_client_certificate(keys.certificate.clone(), keys.key.clone());
    Ok(jetstream::new(options.connect(format!("tls://{address}")).await?))
}

/// Consumes what the stream has and what comes; a stream that is shorter than what was read of it is another one.
async fn follow(address: SocketAddr, keys: &Keys, filter: &str, told: &Mutex<Told>) -> Result<(), async_nats::Error> {
    let context = connect(address, keys).await?;
    let consumer = pull::Config { filter_subject: format!("{filter}>"), ..pull::Config::default() };
    let consumer = context.get_stream("freehold").await?.create_consumer(consumer).await?;
    let mut read = 0;
    lock(told).begin();
    loop {
        let mut batch = consumer.fetch().max_messages(500).messages().await?;
        while let Some(message) = timeout(SILENCE, batch.next()).await? {
            let message = message?;
            let sequence = message.info()?.stream_sequence;
            // One whose acknowledgement was late comes again, under its number.
            if sequence > read {
                lock(told).add(&message.subject, &message.payload);
                read = sequence;
            }
            message.ack().await?;
        }
        if context.get_stream("freehold").await?.cached_info().state.last_sequence < read {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a subscriber knows, who drops what it has seen by the id of CloudEvents.
#[derive(Debug, Default)]
pub struct Told {
    /// Ids in the order in which they came first.
    pub ids: Vec<String>,
    /// Bodies in that order.
    pub events: Vec<Value>,
    /// Subjects in that order.
    pub subjects: Vec<String>,
    /// Messages of the stream with an id that another one of it has.
    pub repeats: usize,
    /// Events of a resource that came after a later one.
    pub disorder: Vec<Value>,
    seen: HashSet<String>,
    /// Those since it began to read the stream.
    stored: HashSet<String>,
    versions: BTreeMap<String, i64>,
}

impl Told {
    fn begin(&mut self) {
        self.repeats = 0;
        self.stored.clear();
    }

    fn add(&mut self, subject: &str, body: &[u8]) {
        let event: Value = serde_json::from_slice(body).expect("a message is JSON");
        let text = |name: &str| event[name].as_str().expect("an attribute").to_owned();
        if !self.stored.insert(text("id")) {
            self.repeats += 1;
        }
        if !self.seen.insert(text("id")) {
            return;
        }
        let version = event["resourceversion"].as_i64().expect("a version");
        let before = self.versions.insert(text("resourceuid"), version);
        if before.is_some_and(|before| before > version) {
            self.disorder.push(event.clone());
        }
        self.ids.push(text("id"));
        self.subjects.push(subject.to_owned());
        self.events.push(event);
    }
}

/// Somebody who reads a stream.
pub struct Subscriber {
    told: Arc<Mutex<Told>>,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// What it knows by now.
    pub fn told(&self) -> MutexGuard<'_, Told> {
        lock(&self.told)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}
