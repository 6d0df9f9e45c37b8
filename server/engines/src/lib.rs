//! Engines: what makes the resources of a blueprint real.
//!
//! An engine compares what a blueprint wants with what is there and makes a [`Plan`]; later it carries out just that plan.
//! Each effect on the world begins only after its intent is recorded through a [`Sink`], so that another runner can take
//! over after a crash without doing anything twice.

mod engine;
mod error;
mod journal;
mod launch;
pub mod native;
mod plan;
mod redact;
mod state;
mod summary;

pub use engine::{Engine, Engines, Level, Outcome, OutputValue, Sink, SinkError};
pub use error::StepError;
pub use journal::{JournalEntry, JournalState};
pub use launch::{Access, Confinement, Exit, Launcher, Process, Program};
pub use native::{HostPolicy, NativeEngine, NativeSettings};
pub use plan::{Action, Change, DeploymentIdentity, Mode, Operation, Plan, PlanRequest, Planned, PlannedOutput, Step};
pub use redact::Redactor;
pub use state::{Attributes, Resource, State};
pub use summary::{AttributeChange, OutputChange, PlanSummary, ResourceChange, Summary};
