//! What the processes of a sandbox tell each other.
//!
//! A runner gives its supervisor an [`Order`] and gets a [`Started`]. The supervisor passes the order on to the processes inside,
//! and they answer by a socket that is their standard input, one JSON document a line: the last word of the supervisor, that it is
//! gone, is the end of that socket.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, BufRead, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use freehold_engines::{Access, Confinement, Program};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{egress::Egress, limits::Limits};

/// A program to run, and how.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub path: PathBuf,
    pub arguments: Vec<OsString>,
    pub environment: BTreeMap<String, OsString>,
    pub directory: PathBuf,
    pub folder: PathBuf,
    pub readable: Vec<PathBuf>,
    pub record: PathBuf,
    /// Whether it must be confined; it has its limits in any case.
    pub confine: bool,
    pub limits: Limits,
    pub egress: Egress,
    /// How long nobody may claim it.
    pub orphan: Duration,
    /// Whether its record outlasts a loss of power. What only looks is begun anew after one.
    pub durable: bool,
}

impl Order {
    pub fn new(program: Program, confine: bool, limits: Limits, egress: Egress, orphan: Duration) -> Self {
        let Program { path, arguments, environment, directory, folder, readable, record, disk, access } = program;
        let limits = Limits { disk: limits.disk.min(disk.unwrap_or(u64::MAX)), ..limits };
        let durable = access == Access::Write;
        Self { path, arguments, environment, directory, folder, readable, record, confine, limits, egress, orphan, durable }
    }
}

/// What a supervisor is told after its order, when the program is to start.
pub(super) const START: &str = "start\n";

/// What a supervisor answers.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Started {
    /// The program runs.
    Yes(Confinement),
    /// It does not, because of this.
    No(String),
}

/// What the supervisor tells the processes inside.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tell {
    /// What to run, and how.
    Run(Box<Orders>),
    /// Go on.
    Go,
    /// Ask the program to end.
    Interrupt,
    /// End everything.
    Kill,
}

/// What the processes inside need to know.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Orders {
    pub order: Order,
    /// User and group of the program.
    pub user: u32,
    /// Port of the way out, on its loopback.
    pub way_out: Option<u16>,
    /// Whether all its processes together are limited in memory.
    pub memory_limited: bool,
}

/// What the processes inside tell the supervisor. Each waits for an answer but the last four.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// There are namespaces; map the users of this process.
    Unshared,
    /// A socket comes after your answer, which is the way out, at this port inside.
    WayOut(u16),
    /// What is there to run?
    Ready,
    /// The program runs.
    Running,
    /// This was not possible.
    Failed(String),
    /// The program ended by itself.
    Code(i32),
    /// The program ended by a signal.
    Signal(i32),
}

/// Sends a message.
pub(super) fn send<T: Serialize>(mut socket: &UnixStream, message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    socket.write_all(&line)
}

/// Receives messages, one after the other.
pub(super) struct Receiver(BufReader<UnixStream>);

impl Receiver {
    pub fn new(socket: UnixStream) -> Self {
        Self(BufReader::new(socket))
    }

    /// The next message.
    pub fn next<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}
