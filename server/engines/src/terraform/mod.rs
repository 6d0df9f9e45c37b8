//! The engine that has OpenTofu or Terraform make the resources of a module.
//!
//! The program works on a folder with a state of its own, which it writes after each resource. The engine reads that state and the
//! program's JSON as they grow, and records both. Program, output and state outlive the runner: a runner that comes back goes on
//! where the program is by then.

mod applier;
mod bundle;
mod events;
mod follower;
mod leftover;
mod plan_json;
mod planner;
mod program;
mod reversibility;
mod rules;
mod session;
mod source;
mod state;
mod workspace;

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use futures::future::{BoxFuture, FutureExt as _};

use crate::{ApplyRequest, Engine, Launcher, MadePlan, Outcome, PlanRequest, Sink, StepError};
pub use program::TerraformProgram;
pub use rules::TerraformRules;
pub use source::{Git, ModuleSource};

/// What a runner gives the engine `terraform`.
#[derive(Clone, Debug)]
pub struct TerraformSettings {
    /// The program.
    pub program: TerraformProgram,
    /// Folder for runs under way and for what is kept between them; nobody else uses it.
    pub folder: PathBuf,
    /// Tells this folder from that of every other runner, whatever becomes of names and machines.
    pub instance: String,
    /// Folder with providers in the layout of `terraform providers mirror`, packed or not. With it nothing else is installed and
    /// nothing is fetched; without it providers come from their registries.
    pub provider_mirror: Option<PathBuf>,
    /// What fetches modules from their repositories; nothing where there is no `git`.
    pub git: Option<Git>,
    /// Where modules may come from.
    pub module_sources: Vec<ModuleSource>,
    /// Environment of programs that prepare and look, for example credentials that can only read.
    pub read_environment: BTreeMap<String, OsString>,
    /// Environment of programs that make changes.
    pub write_environment: BTreeMap<String, OsString>,
}

/// The engine `terraform`.
pub struct TerraformEngine {
    settings: TerraformSettings,
    launcher: Arc<dyn Launcher>,
}

impl TerraformEngine {
    /// The name in blueprints and jobs.
    pub const NAME: &'static str = "terraform";

    /// An engine that has its program run by this launcher. What earlier lives left of plans is removed.
    ///
    /// # Errors
    /// `folder-unusable` when its folder cannot be made or read.
    pub fn new(settings: TerraformSettings, launcher: Arc<dyn Launcher>) -> Result<Self, StepError> {
        workspace::sweep(&settings.folder)?;
        Ok(Self { settings, launcher })
    }
}

impl Engine for TerraformEngine {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn version(&self) -> String {
        self.settings.program.version.to_string()
    }

    fn plan<'a>(&'a self, request: PlanRequest, sink: &'a dyn Sink) -> BoxFuture<'a, Result<MadePlan, StepError>> {
        planner::plan(self, request, sink).boxed()
    }

    fn apply<'a>(&'a self, request: ApplyRequest, sink: &'a dyn Sink) -> BoxFuture<'a, Result<Outcome, StepError>> {
        applier::apply(self, request, sink).boxed()
    }

    fn outlives(&self) -> Option<Duration> {
        Some(self.launcher.outlives())
    }

    fn leftover<'a>(&'a self, run: &'a str, sink: &'a dyn Sink) -> BoxFuture<'a, Result<Option<Outcome>, StepError>> {
        leftover::leftover(self, run, sink).boxed()
    }

    fn forget(&self, run: &str) {
        workspace::remove(&self.settings.folder, run);
    }
}
