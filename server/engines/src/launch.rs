//! How an engine has programs run: the runner starts them, in whatever sandbox it has.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, time::Duration};

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

    /// Starts it. Its standard output goes to the file `stdout` of its record, standard error to `stderr`; it reads nothing.
    ///
    /// # Errors
    /// `launch-failed` when it cannot be started, or the sandbox that is required cannot be made.
    fn launch<'a>(&'a self, program: Program) -> BoxFuture<'a, Result<Box<dyn Process>, StepError>>;

    /// The program with this record that an earlier life of this runner started: it may still run, or have ended since.
    /// Nothing when no program was ever started with this record.
    fn adopt<'a>(&'a self, record: PathBuf) -> BoxFuture<'a, Option<Box<dyn Process>>>;
}

/// A program that was started. Dropping it leaves it running.
pub trait Process: Send + Sync {
    /// Waits for its end and that of everything it has started. Can be dropped and called again.
    fn ended(&self) -> BoxFuture<'_, Exit>;

    /// Asks it, and nobody else, once, to end in order: SIGINT to the leader. A repeat does nothing, because a program that gets
    /// two of them drops what it is doing.
    fn interrupt(&self);

    /// Ends it and everything it has started, at once.
    fn kill(&self);
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
