//! What is left of an apply whose run this runner has lost, when the plan is not at hand any more.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    TerraformEngine,
    applier::{PROGRAM, Progress, Watched, ended, learn, stopped, taken_up},
    bundle::Bytes,
    session::Session,
    workspace::Workspace,
};
use crate::{Outcome, Sink, SinkError, StepError};

/// What is needed of a plan to understand what its program left. Holds secrets; out of the program's reach.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    /// Folder of the module, relative to the files.
    pub module: String,
    /// Values that nobody may see.
    pub secrets: Vec<Value>,
    /// The state that the program began with; empty when there was none.
    pub state: Bytes,
}

impl Kept {
    /// Its file, beside the records.
    const FILE: &str = "kept";

    /// Keeps it for a later life of this runner.
    pub fn write(&self, workspace: &Workspace) -> Result<(), StepError> {
        let bytes = serde_json::to_vec(self).expect("maps with text keys always have a JSON form");
        workspace.write(&workspace.record(Self::FILE), &bytes)
    }

    fn read(engine: &TerraformEngine, run: &str) -> Result<Option<Self>, StepError> {
        let workspace = Workspace::new(&engine.settings.folder, run, "apply", "");
        let Some(bytes) = workspace.read(&workspace.record(Self::FILE))? else { return Ok(None) };
        // One that was cut short is of a program that was never started.
        Ok(serde_json::from_slice(&bytes).ok())
    }
}

/// Has the program end if it still runs, and answers what it came to. Who lost the run makes no plan of what is there: that is for
/// whoever has it.
pub(super) async fn leftover(engine: &TerraformEngine, run: &str, sink: &dyn Sink) -> Result<Option<Outcome>, StepError> {
    let Some(kept) = Kept::read(engine, run)? else { return Ok(None) };
    let workspace = Workspace::new(&engine.settings.folder, run, "apply", &kept.module);
    let Some(process) = engine.launcher.adopt(workspace.record(PROGRAM)).await else { return Ok(None) };
    let session = Session::new(engine, workspace, sink, &kept.secrets);
    if !kept.state.0.is_empty() {
        learn(&session, &kept.state.0);
    }
    let mut follower = taken_up(&session, process)?;
    let mut progress = Progress::default();
    let mut state = Watched::new(kept.state.0.clone());
    state.next(&session);
    while let Some(events) = follower.next().await {
        progress.take(&events);
        state.next(&session);
    }
    if follower.was_left() {
        return Err(stopped(&SinkError::LeaseLost));
    }
    ended(&session, &follower, &progress, &kept.state.0)?.outcome().map(Some)
}
