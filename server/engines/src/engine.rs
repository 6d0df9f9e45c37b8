//! The one trait of all engines.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use freehold_domain::{
    blueprints::{Diagnostic, Document, Files},
    deployments::ManagedResource,
};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Confinement, JournalEntry, StepError, Summary};

/// What an engine demands of blueprints.
pub trait Rules: Send + Sync {
    /// Name of the engine, as blueprints say it.
    fn engine(&self) -> &'static str;

    /// Whether its blueprints name a module instead of resources.
    fn runs_modules(&self) -> bool {
        false
    }

    /// Everything wrong with a blueprint that shows without making a plan.
    fn validate(&self, document: &Document) -> Vec<Diagnostic>;
}

/// Makes the resources of blueprints real.
pub trait Engine: Send + Sync {
    /// Its name in blueprints and jobs, for example `native`.
    fn name(&self) -> &'static str;

    /// Version of the program that does its work, its own where it needs none.
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    /// Compares what the blueprint wants with what is there, or, in the mode [`Mode::Drift`], what is there with the state alone.
    /// Changes nothing.
    ///
    /// A plan that looks for drift has no steps; its changes say what happened outside.
    fn plan<'a>(&'a self, request: PlanRequest, sink: &'a dyn Sink) -> BoxFuture<'a, Result<MadePlan, StepError>>;

    /// Carries out a plan, or goes on where an earlier attempt stopped.
    ///
    /// # Errors
    /// `plan-invalid`, `blueprint-invalid` or `journal-invalid` when it cannot even begin. This attempt has changed nothing then
    /// and knows no state: the newest one is what an earlier attempt recorded.
    fn apply<'a>(&'a self, request: ApplyRequest, sink: &'a dyn Sink) -> BoxFuture<'a, Result<Outcome, StepError>>;

    /// How long what an apply has started may go on when its runner is gone; nothing when it ends with the runner.
    fn outlives(&self) -> Option<Duration> {
        None
    }

    /// What the apply of a run that this runner has lost left here: a program that still runs is asked to end, and its end is
    /// awaited. Changes nothing else. Nothing when nothing of it is kept here.
    ///
    /// # Errors
    /// `lease-lost` when the sink says that the run was given to this runner anew; others when what is kept cannot be read.
    fn leftover<'a>(&'a self, _run: &'a str, _sink: &'a dyn Sink) -> BoxFuture<'a, Result<Option<Outcome>, StepError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// The server knows how the apply of this run ended; what was kept for a runner that comes back is not needed any more.
    fn forget(&self, _run: &str) {}
}

/// What an engine is asked to compare.
#[derive(Clone)]
pub struct PlanRequest {
    /// Uid of the run; part of the identity of each step, so that no other run has the same.
    pub run: String,
    /// Files of the blueprint version.
    pub files: Files,
    /// Inputs as resolved by the schema of the blueprint; may hold secrets.
    pub inputs: Map<String, Value>,
    /// The deployment.
    pub deployment: DeploymentIdentity,
    /// What is known to exist, as the engine wrote it; nothing before the first apply.
    pub state: Option<Vec<u8>>,
    /// Serial of that state, by the server's count; 0 when there is none.
    pub serial: u64,
    /// What to reach.
    pub mode: Mode,
}

/// What a plan is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What the blueprint says.
    Apply,
    /// Nothing is left.
    Destroy,
    /// Only to know what happened outside.
    Drift,
}

/// Which deployment resources belong to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentIdentity {
    /// UUIDv7; stays when names are used again.
    pub uid: String,
    /// Resource name.
    pub name: String,
    /// Id of its tenant.
    pub tenant: String,
    /// Id of its project.
    pub project: String,
    /// Id of its environment.
    pub environment: String,
}

/// A plan as an engine made it.
pub struct MadePlan {
    /// Everything that an apply needs, and nothing that it may still decide; the digest of these bytes is what is approved. They
    /// hold secrets and are kept sealed.
    pub bytes: Vec<u8>,
    /// The same for people.
    pub summary: Summary,
}

/// What an engine is asked to carry out.
#[derive(Clone)]
pub struct ApplyRequest {
    /// Uid of the run.
    pub run: String,
    /// The bytes of the plan.
    pub plan: Vec<u8>,
    /// What earlier attempts did.
    pub journal: Vec<JournalEntry>,
    /// The newest state that was recorded; nothing before the first.
    pub state: Option<Vec<u8>>,
}

/// The state of a deployment at one moment.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// As the engine wrote it; holds secrets.
    pub bytes: Vec<u8>,
    /// What is in it, in the order of addresses.
    pub resources: Vec<ManagedResource>,
}

/// Where an engine reports to.
pub trait Sink: Send + Sync {
    /// Records steps, and the state when it changed. Effects wait for its answer, so it repeats what may pass by itself.
    fn record<'a>(&'a self, entries: &'a [JournalEntry], state: Option<&'a Snapshot>) -> BoxFuture<'a, Result<(), SinkError>>;

    /// Adds a line to the log of the run; secrets are replaced already.
    fn log(&self, level: Level, address: &str, text: &str);

    /// Somebody asked the run to stop: no new step begins, those under way end.
    fn cancelled(&self) -> bool;

    /// Whether the run is still this runner's, as far as it knows.
    fn hold(&self) -> Hold {
        Hold::Held
    }

    /// Notes what keeps a program of this run from the rest of the machine. Engines that start programs say so of each.
    fn confined(&self, _confinement: Confinement) {}
}

/// Whether a run is still the runner's that works on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It is.
    Held,
    /// It was not heard of for so long that the run may have been taken back. What was started may go on, for the time that the
    /// run is held for it, and no longer: nobody else looks before.
    Unsure,
    /// It was taken back, and this runner was given it anew: its programs are left to who takes them up.
    Left,
    /// It is not; somebody else may be at work on the same things.
    Lost,
}

/// Why a step could not be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkError {
    /// Another runner has the run; nothing more may be done.
    LeaseLost,
    /// The server cannot be reached, in words.
    Unavailable(String),
}

/// How important a line of a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For who looks for a fault.
    Debug,
    /// Progress.
    Info,
    /// Worth a look.
    Warn,
    /// Something failed.
    Error,
}

/// How an apply ended.
#[derive(Debug)]
pub struct Outcome {
    /// Something real was changed, by this attempt or an earlier one.
    pub changed: bool,
    /// The state at the end.
    pub state: Snapshot,
    /// Outputs that have a value.
    pub outputs: BTreeMap<String, OutputValue>,
    /// The first failure; absent when all went well.
    pub failed: Option<StepError>,
    /// Resources whose fate could not be found out.
    pub unknown: Vec<String>,
    /// Steps were left out because somebody asked it to stop.
    pub cancelled: bool,
}

/// The value of one output.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputValue {
    /// As JSON.
    pub value: Value,
    /// It is shown to nobody without the right to read secrets.
    pub sensitive: bool,
}

impl fmt::Debug for OutputValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sensitive { f.write_str("(hidden)") } else { self.value.fmt(f) }
    }
}

/// Names what it is about, never values.
impl fmt::Debug for PlanRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanRequest")
            .field("run", &self.run)
            .field("deployment", &self.deployment)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// Addresses of what is in it.
    pub fn addresses(&self) -> Vec<&str> {
        self.resources.iter().map(|resource| resource.address.as_str()).collect()
    }
}

/// Names what is there, never what is in it.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

/// The engines a runner has.
#[derive(Clone, Default)]
pub struct Engines(Vec<Arc<dyn Engine>>);

impl Engines {
    /// These engines.
    pub fn new(engines: Vec<Arc<dyn Engine>>) -> Self {
        Self(engines)
    }

    /// The engine of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Engine>> {
        self.0.iter().find(|engine| engine.name() == name)
    }

    /// Names of all engines.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|engine| engine.name()).collect()
    }

    /// Versions of all engines, by name.
    pub fn versions(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|engine| (engine.name().to_owned(), engine.version())).collect()
    }
}
