//! Engines: what makes the resources of a blueprint real.
//!
//! An engine compares what a blueprint wants with what is there and makes a plan; later it carries out just that plan.
//! Each effect on the world begins only after its intent is recorded through a [`Sink`], so that another runner can take
//! over after a crash without doing anything twice.

mod engine;
mod error;
mod journal;
mod launch;
pub mod native;
mod summary;
pub mod terraform;

pub use engine::{
    ApplyRequest, DeploymentIdentity, Engine, Engines, Hold, Level, MadePlan, Mode, Outcome, OutputValue, PlanRequest, Rules,
    Sink, SinkError, Snapshot,
};
pub use error::StepError;
pub use freehold_domain::redact::Redactor;
pub use journal::{JournalEntry, JournalState};
pub use launch::{Access, Confinement, Exit, Launcher, Prepared, Process, Program};
pub use native::{HostPolicy, NativeEngine, NativeSettings};
pub use summary::{Action, AttributeChange, OutputChange, PlanSummary, ResourceChange, Summary};
pub use terraform::{Git, ModuleSource, TerraformEngine, TerraformProgram, TerraformRules, TerraformSettings};
