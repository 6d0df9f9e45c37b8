//! How an engine has programs run: the runner starts them, in whatever sandbox it has.

use std::{collections::BTreeMap, ffi::OsString, fmt, path::PathBuf, time::Duration};

use futures::future::BoxFuture;

use crate::StepError;

/// A program to run.
#[derive(Clone)]
pub struct Program {
    /// The file to execute.
    pub path: PathBuf,
    /// Arguments. Everybody on the machine can read them: no secret is among them.
    pub arguments: Vec<OsString>,
    /// The whole environment: nothing is inherited.
    pub environment: BTreeMap<String, OsString>,
    /// The folder it works in.
    pub directory: PathBuf,
    /// The only folder that it may write to; the one it works in is this or inside of it.
    pub folder: PathBuf,
    /// Further files and folders that it may read, beside the system's own programs and libraries.
    pub readable: Vec<PathBuf>,
    /// Where its output and its end are kept, so that they outlive the runner. Empty or absent when it is started; the program
    /// itself cannot reach it.
    pub record: PathBuf,
    /// Bytes that it may write, where they are fewer than any program may.
    pub disk: Option<u64>,
    /// What it may do to the world.
    pub access: Access,
}

/// What a program may do to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Prepare and look: it is given no credentials that can change anything.
    Read,
    /// Make changes.
    Write,
}

/// Starts programs.
pub trait Launcher: Send + Sync {
    /// How long a program goes on when nobody comes back for it; then it is ended, in order if it can be.
    fn outlives(&self) -> Duration;

    /// Makes everything ready that it runs in, while something else is still to be done or to end.
    ///
    /// # Errors
    /// `launch-failed` when the program is none that could be started.
    fn prepare<'a>(&'a self, program: Program) -> BoxFuture<'a, Result<Box<dyn Prepared>, StepError>>;

    /// Starts it at once; see [`Prepared::start`].
    ///
    /// # Errors
    /// `launch-failed`, as there.
    fn launch<'a>(&'a self, program: Program) -> BoxFuture<'a, Result<Box<dyn Process>, StepError>> {
        Box::pin(async move { self.prepare(program).await?.start().await })
    }

    /// The program with this record that an earlier life of this runner started: it may still run, or have ended since.
    /// Nothing when no program was ever started with this record.
    fn adopt<'a>(&'a self, record: PathBuf) -> BoxFuture<'a, Option<Box<dyn Process>>>;
}

/// A program that can start at once. Dropped, or left by a runner that dies, it never does.
pub trait Prepared: Send {
    /// Gives it up, and waits until nothing of it is left.
    fn cancel(self: Box<Self>) -> BoxFuture<'static, ()>;

    /// Starts it. Its standard output goes to the file `stdout` of its record, standard error to `stderr`; it reads nothing.
    ///
    /// # Errors
    /// `launch-failed` when it cannot be started, or the sandbox that is required cannot be made.
    fn start(self: Box<Self>) -> BoxFuture<'static, Result<Box<dyn Process>, StepError>>;
}

/// A program that was started. Dropping it leaves it running.
pub trait Process: Send + Sync {
    /// Waits for its end and that of everything it has started. Can be dropped and called again.
    fn ended(&self) -> BoxFuture<'_, Exit>;

    /// Says that somebody wants it. Who looks after it says so again and again; unwanted, it is ended.
    fn claim(&self);

    /// Asks it, and nobody else, once, to end in order: SIGINT to the leader. A repeat does nothing, because a program that gets
    /// two of them drops what it is doing.
    fn interrupt(&self);

    /// Ends it and everything it has started, at once.
    fn kill(&self);

    /// What keeps it from the rest of the machine.
    fn confinement(&self) -> Confinement;
}

/// What keeps a program from the rest of the machine. As text, the walls that stand, for example
/// `user,mount,pid,ipc,uts,net,cgroup,pids,memory,cpu`, or `none`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Confinement {
    /// It has no power over anything outside of its user namespace, and where the runner is root, a user of its own.
    pub user: bool,
    /// It sees a file system made for it: the system read-only, its folder, nothing else.
    pub mounts: bool,
    /// It sees no other processes, and none of its own outlive it.
    pub pids: bool,
    /// It shares no memory or queues with others.
    pub ipc: bool,
    /// It has a host name of its own.
    pub uts: bool,
    /// It reaches the hosts that the runner allows, and no others.
    pub network: bool,
    /// All that it starts can be found and ended together.
    pub cgroup: bool,
    /// All its processes together are limited in number.
    pub processes_limited: bool,
    /// All its processes together are limited in memory.
    pub memory_limited: bool,
    /// All its processes together are limited in processor time.
    pub cpu_limited: bool,
}

impl Confinement {
    /// The walls that stand in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            user: self.user && other.user,
            mounts: self.mounts && other.mounts,
            pids: self.pids && other.pids,
            ipc: self.ipc && other.ipc,
            uts: self.uts && other.uts,
            network: self.network && other.network,
            cgroup: self.cgroup && other.cgroup,
            processes_limited: self.processes_limited && other.processes_limited,
            memory_limited: self.memory_limited && other.memory_limited,
            cpu_limited: self.cpu_limited && other.cpu_limited,
        }
    }

    /// Whether a program that means harm is kept from the runner, from other runs and from the network that it must not reach.
    pub fn isolates(self) -> bool {
        self.user && self.mounts && self.pids && self.ipc && self.uts && self.network
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let walls = [
            (self.user, "user"),
            (self.mounts, "mount"),
            (self.pids, "pid"),
            (self.ipc, "ipc"),
            (self.uts, "uts"),
            (self.network, "net"),
            (self.cgroup, "cgroup"),
            (self.processes_limited, "pids"),
            (self.memory_limited, "memory"),
            (self.cpu_limited, "cpu"),
        ];
        let standing: Vec<_> = walls.into_iter().filter(|(stands, _)| *stands).map(|(_, name)| name).collect();
        f.write_str(if standing.is_empty() { "none" } else { "" })?;
        f.write_str(&standing.join(","))
    }
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// A limit of the sandbox ended it: which one, in words that name the limit and how to raise it.
    Limit(String),
    /// Nobody knows: it is gone and left no word, as after a loss of power.
    Unknown,
}
