//! The one trait of all engines.

use std::{collections::BTreeMap, fmt, sync::Arc};

use freehold_domain::blueprints::{Diagnostic, Document};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Confinement, JournalEntry, Plan, PlanRequest, State, StepError};

/// Makes the resources of blueprints real.
pub trait Engine: Send + Sync {
    /// Its name in blueprints and jobs, for example `native`.
    fn name(&self) -> &'static str;

    /// Version of the program that does its work, its own where it needs none.
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    /// Everything wrong with the resources of a blueprint that shows without making a plan.
    fn validate(&self, document: &Document) -> Vec<Diagnostic>;

    /// Compares what the blueprint wants with what is there. Changes nothing.
    ///
    /// For the same request and the same findings the plan is the same to the byte.
    fn plan<'a>(&'a self, request: PlanRequest, sink: &'a dyn Sink) -> BoxFuture<'a, Result<Plan, StepError>>;

    /// Compares what is there with the state alone: a plan without steps whose changes say what happened outside. Changes
    /// nothing.
    fn drift<'a>(&'a self, request: PlanRequest, sink: &'a dyn Sink) -> BoxFuture<'a, Result<Plan, StepError>>;

    /// Carries out a plan, or goes on where the attempt that left this journal stopped.
    ///
    /// # Errors
    /// `plan-invalid`, `blueprint-invalid` or `journal-invalid` when it cannot even begin. This attempt has changed nothing then
    /// and knows no state: the newest one is what an earlier attempt recorded.
    fn apply<'a>(
        &'a self,
        plan: Plan,
        journal: Vec<JournalEntry>,
        sink: &'a dyn Sink,
    ) -> BoxFuture<'a, Result<Outcome, StepError>>;
}

/// Where an engine reports to.
pub trait Sink: Send + Sync {
    /// Records steps, and the state when it changed. Effects wait for its answer, so it repeats what may pass by itself.
    fn record<'a>(&'a self, entries: &'a [JournalEntry], state: Option<&'a State>) -> BoxFuture<'a, Result<(), SinkError>>;

    /// Adds a line to the log of the run; secrets are replaced already.
    fn log(&self, level: Level, address: &str, text: &str);

    /// Somebody asked the run to stop: no new step begins, those under way end.
    fn cancelled(&self) -> bool;

    /// Notes what keeps a program of this run from the rest of the machine. Engines that start programs say so of each.
    fn confined(&self, _confinement: Confinement) {}
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
    pub state: State,
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
