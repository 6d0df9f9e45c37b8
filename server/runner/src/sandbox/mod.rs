//! The sandbox that programs of engines run in.
//!
//! A runner starts a supervisor for each program: a process of its own session, which outlives the runner, keeps the program's
//! output and end in its record, and ends it when nobody wants it any more. All its parts are the binary `freehold` again, called
//! with the name of a [`Stage`]:
//!
//! ```text
//! runner ── supervisor ── enter ── init ── program and what it starts
//!           (outside)     (makes    (process 1 inside: drops all powers,
//!                         the        starts the program, buries orphans)
//!                         namespaces)
//! ```
//!
//! When `init` ends, the kernel ends everything else inside; `init` ends when the socket to its supervisor does. So nothing of a
//! program outlives its supervisor. Runner and supervisor speak by files in the record, which a later life of the runner finds.

mod cgroup;
mod disk;
mod egress;
mod inside;
mod limits;
mod mounts;
mod network;
mod order;
mod process;
mod record;
mod start;
mod supervisor;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use freehold_domain::fault;
use freehold_engines::{Access, Confinement, Exit, Launcher, Prepared, Process, Program, StepError};
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{ChildStdin, ChildStdout, Command},
};

pub use egress::{Allowed, Egress, Rule};
pub use limits::{Limit, Limits};

use order::{Order, Started};
use process::Supervised;
use record::Record;

/// The first argument of a process of a sandbox; its second is the name of a [`Stage`], its third the record of its program, for
/// people who look at the list of processes.
const STAGE: &str = "sandbox-stage";
/// Between two looks whether a program that is about to start has started.
const LOOK: Duration = Duration::from_millis(5);
/// How long a program may go on without a runner that claims it.
pub const ORPHAN: Duration = Duration::from_secs(15 * 60);

/// What a process of a sandbox does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Looks after a program from outside.
    Supervise,
    /// Makes namespaces.
    Enter,
    /// Is the first process inside.
    Init,
}

impl Stage {
    const ALL: [Self; 3] = [Self::Supervise, Self::Enter, Self::Init];

    /// The arguments of a process that does this for the program of an order.
    fn arguments(self, order: &Order) -> [OsString; 3] {
        [STAGE.into(), self.name().into(), order.record.clone().into()]
    }

    /// What a process that was started with these, its own name first, has to do here; nothing when it is none of a sandbox.
    pub fn of(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut arguments = arguments.into_iter().skip(1);
        let name = arguments.next().filter(|first| first == STAGE).and_then(|_| arguments.next())?;
        Self::ALL.into_iter().find(|stage| name == stage.name())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Supervise => "supervise",
            Self::Enter => "enter",
            Self::Init => "init",
        }
    }

    /// Does it, to its end. This process must have no other thread.
    ///
    /// # Errors
    /// When the processes around it are gone.
    pub fn run(self) -> io::Result<()> {
        match self {
            Self::Supervise => supervisor::supervise(),
            Self::Enter => inside::enter(),
            Self::Init => inside::init(),
        }
    }
}

/// Whether programs must be confined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are, or there is no runner.
    Required,
    /// They are, where this machine lets the runner do it.
    #[default]
    Preferred,
    /// They are not; they have their limits all the same.
    Off,
}

/// How programs are run.
#[derive(Clone, Debug)]
pub struct SandboxSettings {
    /// The binary `freehold`.
    pub binary: PathBuf,
    /// Whether programs must be confined.
    pub mode: Mode,
    /// How much each may take.
    pub limits: Limits,
    /// Where they may connect to.
    pub egress: Egress,
    /// How long a program may go on without a runner that claims it; usually [`ORPHAN`].
    pub orphan: Duration,
}

/// Runs programs in sandboxes.
#[derive(Clone, Debug)]
pub struct Sandbox {
    settings: SandboxSettings,
    /// Decided once: a program that cannot be confined where others can is refused, and never started without.
    confine: bool,
    confinement: Confinement,
}

impl Sandbox {
    /// A sandbox of this runner, once it has been tried out. Ends what earlier lives of runners have left of programs whose
    /// supervisors are gone; those that are supervised can be adopted.
    ///
    /// # Errors
    /// `launch-failed` when it cannot run anything, or is required and cannot be made.
    pub async fn new(settings: SandboxSettings) -> Result<Self, StepError> {
        cgroup::prepare();
        cgroup::sweep();
        let confine = settings.mode != Mode::Off;
        let mut sandbox = Self { settings, confine, confinement: Confinement::default() };
        sandbox.confinement = match sandbox.try_out().await {
            Err(error) if sandbox.settings.mode == Mode::Preferred => {
                tracing::warn!(%error, "programs are not confined; `--sandbox required` makes this an error");
                sandbox.confine = false;
                sandbox.try_out().await?
            }
            tried => tried?,
        };
        Ok(sandbox)
    }

    /// Runs a program that does nothing.
    async fn try_out(&self) -> Result<Confinement, StepError> {
        let dir = tempfile::Builder::new().prefix("freehold-sandbox-").tempdir().map_err(|error| failed(error.to_string()))?;
        let (folder, record) = (dir.path().join("folder"), dir.path().join("record"));
        std::fs::create_dir(&folder).map_err(|error| failed(error.to_string()))?;
        let program = Program {
            path: self.settings.binary.clone(),
            arguments: vec!["--version".into()],
            environment: Default::default(),
            directory: folder.clone(),
            folder,
            readable: Vec::new(),
            record,
            disk: None,
            access: Access::Read,
        };
        let process = self.launch(program).await?;
        let ended = process.ended().await;
        if ended != Exit::Code(0) {
            return Err(failed(format!("a program that should have succeeded ended otherwise: {ended:?}")));
        }
        Ok(process.confinement())
    }

    /// What keeps programs from the rest of this machine, as it was when the sandbox was tried out.
    pub fn confinement(&self) -> Confinement {
        self.confinement
    }

    async fn ready(&self, program: Program) -> Result<Standby, StepError> {
        let paths = [&program.path, &program.directory, &program.folder, &program.record];
        for path in paths.into_iter().chain(&program.readable) {
            if !mounts::is_plain(path) {
                return Err(failed(format!("{} is no whole path", path.display())));
            }
        }
        if !program.directory.starts_with(&program.folder) {
            return Err(failed(format!("it would work outside of its folder, in {}", program.directory.display())));
        }
        if program.readable.iter().chain([&program.folder]).any(|seen| program.record.starts_with(seen)) {
            return Err(failed(format!("it would see its own record, {}", program.record.display())));
        }
        let SandboxSettings { binary, limits, egress, orphan, .. } = self.settings.clone();
        let record = Record::new(&program.record);
        let order = Order::new(program, self.confine, limits, egress, orphan);
        let (stdin, stdout) = supervise(&binary, &order).await.map_err(no_supervisor)?;
        Ok(Standby { record, orphan, stdin, stdout })
    }
}

/// Starts a supervisor and gives it its order. That goes by a pipe, because it has the program's environment in it, and everybody may
/// read arguments.
async fn supervise(binary: &Path, order: &Order) -> io::Result<(ChildStdin, ChildStdout)> {
    let mut command = Command::new(binary);
    command.args(Stage::Supervise.arguments(order)).env_clear().envs(fault::environment());
    // What it fails with is in its answer; a terminal must not be held open by it.
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut order = serde_json::to_vec(order)?;
    order.push(b'\n');
    let (mut stdin, stdout) = (process.stdin.take().expect("it was asked for"), process.stdout.take().expect("it was asked for"));
    stdin.write_all(&order).await?;
    // Buried by the runtime when it ends; this runner may well end first.
    drop(process);
    Ok((stdin, stdout))
}

/// A supervisor that makes everything ready, and starts its program when it is told to. Its order is void when this is dropped.
struct Standby {
    record: Record,
    orphan: Duration,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Prepared for Standby {
    fn cancel(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Self { stdin, mut stdout, .. } = *self;
            drop(stdin);
            // Its last word is that it gives up.
            let _ = stdout.read_to_end(&mut Vec::new()).await;
        })
    }

    fn start(self: Box<Self>) -> BoxFuture<'static, Result<Box<dyn Process>, StepError>> {
        Box::pin(async move {
            let Self { record, orphan, mut stdin, mut stdout } = *self;
            // One that could make nothing ready has said why, and is gone.
            let _ = stdin.write_all(order::START.as_bytes()).await;
            drop(stdin);
            let mut answer = Vec::new();
            stdout.read_to_end(&mut answer).await.map_err(no_supervisor)?;
            if answer.is_empty() {
                return Err(no_supervisor(io::Error::other("it ended without a word")));
            }
            match serde_json::from_slice(&answer).map_err(|error| no_supervisor(error.into()))? {
                Started::Yes(confinement) => Ok(Box::new(Supervised::new(record, confinement, orphan)) as Box<dyn Process>),
                Started::No(why) => Err(failed(why)),
            }
        })
    }
}

impl Launcher for Sandbox {
    fn outlives(&self) -> Duration {
        self.settings.orphan
    }

    fn prepare<'a>(&'a self, program: Program) -> BoxFuture<'a, Result<Box<dyn Prepared>, StepError>> {
        Box::pin(async move { Ok(Box::new(self.ready(program).await?) as Box<dyn Prepared>) })
    }

    fn adopt<'a>(&'a self, record: PathBuf) -> BoxFuture<'a, Option<Box<dyn Process>>> {
        Box::pin(async move {
            let record = Record::new(&record);
            // A supervisor that nobody can tell to start any more gives up by itself; one that was told to says so soon.
            while !record.is_used() && record.is_supervised() {
                tokio::time::sleep(LOOK).await;
            }
            if !record.is_used() {
                return None;
            }
            let confinement = record.confinement().unwrap_or_default();
            Some(Box::new(Supervised::new(record, confinement, self.settings.orphan)) as Box<dyn Process>)
        })
    }
}

fn no_supervisor(error: io::Error) -> StepError {
    failed(format!("no supervisor: {error}"))
}

fn failed(why: String) -> StepError {
    StepError::new("launch-failed", format!("a program cannot be started: {why}"))
        .hint("look at the machine of the runner, and at its option --sandbox")
}
