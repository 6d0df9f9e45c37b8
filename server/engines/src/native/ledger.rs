//! The state and the journal of an apply while it runs, and how both come back after a crash.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{graph::operations, provider::Intent};
use crate::{
    JournalEntry, JournalState, Sink, SinkError, StepError,
    native::{Attributes, Operation, Plan, Resource, State, Step},
};

/// What the journal keeps of a step, besides how far it is.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Data {
    /// An effect may have begun.
    Intended { serial: u64, intent: Box<Intent> },
    /// The first half of a replacement is done.
    Removed { serial: u64 },
    /// All of it is done.
    Done { serial: u64, effect: bool, resource: Option<Resource> },
    /// It ended otherwise, at this effect.
    Ended { serial: u64, operation: Operation, error: StepError },
}

/// How far a step is.
pub(super) enum Status {
    /// Not begun.
    Pending,
    /// Begun by an earlier attempt that nobody saw the end of.
    Intended(Box<Intent>),
    /// Under way.
    Running,
    Done,
    Failed,
    Unknown,
    Skipped,
}

/// Where an apply stands.
pub(super) struct Ledger<'a> {
    sink: &'a dyn Sink,
    pub state: State,
    /// Something real was changed.
    pub changed: bool,
}

/// What an earlier attempt left.
pub(super) struct Restored<'a> {
    pub ledger: Ledger<'a>,
    /// One for each step of the plan.
    pub statuses: Vec<Status>,
    /// Failures, in the order of steps.
    pub failed: Vec<StepError>,
    /// Steps nobody can tell the fate of.
    pub unknown: Vec<StepError>,
}

impl<'a> Ledger<'a> {
    /// Records that an effect is about to begin.
    pub async fn intend(&mut self, step: &Step, intent: &Intent) -> Result<(), SinkError> {
        let data = Data::Intended { serial: self.state.serial, intent: Box::new(intent.clone()) };
        self.record(&[entry(step, JournalState::Intended, &data, "")], false).await
    }

    /// Records that a step is done: what there is now, and whether it took an effect.
    pub async fn done(&mut self, step: &Step, resource: Option<Resource>, effect: bool, half: bool) -> Result<(), SinkError> {
        self.state.serial += 1;
        self.changed |= effect;
        match &resource {
            Some(resource) => self.state.resources.insert(step.address.clone(), resource.clone()),
            None => self.state.resources.remove(&step.address),
        };
        let serial = self.state.serial;
        // Until the second half is done the step as a whole is not.
        let (state, data) = if half {
            (JournalState::Intended, Data::Removed { serial })
        } else {
            (JournalState::Done, Data::Done { serial, effect, resource })
        };
        self.record(&[entry(step, state, &data, "")], true).await
    }

    /// Records that steps ended without being done.
    pub async fn ended(&mut self, steps: &[&Step], state: JournalState, error: &StepError) -> Result<(), SinkError> {
        let data = |step: &Step| Data::Ended { serial: self.state.serial, operation: step.operation, error: error.clone() };
        let entries: Vec<_> = steps.iter().map(|step| entry(step, state, &data(step), &error.message)).collect();
        self.record(&entries, false).await
    }

    async fn record(&self, entries: &[JournalEntry], changed: bool) -> Result<(), SinkError> {
        self.sink.record(entries, changed.then(|| self.state.snapshot()).as_ref()).await
    }
}

fn entry(step: &Step, state: JournalState, data: &Data, error: &str) -> JournalEntry {
    JournalEntry {
        address: step.address.clone(),
        step_id: step.step_id.clone(),
        state,
        data: serde_json::to_vec(data).expect("maps with text keys always have a JSON form"),
        error: error.to_owned(),
    }
}

/// Puts together where an earlier attempt stopped. Without a journal, that is the beginning.
///
/// # Errors
/// `journal-invalid` when the journal is not one of this plan.
pub(super) fn restore<'a>(plan: &Plan, journal: &[JournalEntry], sink: &'a dyn Sink) -> Result<Restored<'a>, StepError> {
    let mut restored = Restored {
        ledger: Ledger { sink, state: plan.state.clone(), changed: false },
        statuses: plan.steps.iter().map(|_| Status::Pending).collect(),
        failed: Vec::new(),
        unknown: Vec::new(),
    };
    for entry in journal {
        let wrong = |why: &str| {
            StepError::new("journal-invalid", format!("the journal of {} {why}", entry.address))
                .hint("look at what exists, then make a new plan")
                .at(&entry.address)
        };
        let data: Data = serde_json::from_slice(&entry.data).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        let change = plan.changes.get(&entry.address).filter(|change| change.step_id == entry.step_id);
        let change = change.ok_or_else(|| wrong("is of another plan"))?;
        let (serial, at, status) = match data {
            Data::Intended { serial, intent } => (serial, Some(intent.operation), Status::Intended(intent)),
            Data::Removed { serial } => (serial, Some(Operation::Create), Status::Pending),
            Data::Done { serial, effect, resource } => {
                restored.ledger.changed |= effect;
                match resource {
                    Some(resource) => restored.ledger.state.resources.insert(entry.address.clone(), resource),
                    None => restored.ledger.state.resources.remove(&entry.address),
                };
                (serial, None, Status::Done)
            }
            Data::Ended { serial, operation, error } => {
                let status = match entry.state {
                    JournalState::Failed => {
                        restored.failed.push(error);
                        Status::Failed
                    }
                    JournalState::Unknown => {
                        restored.unknown.push(error);
                        Status::Unknown
                    }
                    _ => Status::Skipped,
                };
                (serial, Some(operation), status)
            }
        };
        restored.ledger.state.serial = restored.ledger.state.serial.max(serial);
        let mut status = Some(status);
        for operation in operations(change.action) {
            let place = plan.steps.iter().position(|step| step.address == entry.address && step.operation == *operation);
            let place = place.ok_or_else(|| wrong("has a step that the plan does not have"))?;
            if at.is_none_or(|at| at != *operation) {
                // Halves before the one that is told about are done; of those after it nothing is known yet.
                restored.statuses[place] = if status.is_some() { Status::Done } else { Status::Pending };
                if at.is_some() && status.is_some() {
                    restored.ledger.state.resources.remove(&entry.address);
                    restored.ledger.changed = true;
                }
            } else {
                restored.statuses[place] = status.take().unwrap_or(Status::Pending);
            }
        }
    }
    Ok(restored)
}

/// Attributes without nulls, which stand for absent ones.
pub(super) fn present(attributes: Attributes) -> Attributes {
    attributes.into_iter().filter(|(_, value)| *value != Value::Null).collect()
}
