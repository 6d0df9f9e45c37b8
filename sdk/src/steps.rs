//! Steps of an apply.

use freehold_proto::deployments::v1 as pb;
use jiff::Timestamp;

use crate::{
    ChangeAction,
    wire::{resource, values},
};

resource! {
    /// One step of an apply.
    RunStep = pb::RunStep {
        /// The resource, for example `file.motd`.
        address: String,
        /// What is done.
        action: ChangeAction,
        /// How far it is.
        state: StepState,
        /// Why it failed.
        error: Option<String>,
        /// When it began.
        start_time: Option<Timestamp>,
        /// When it ended.
        end_time: Option<Timestamp>,
    }
}

values! {
    /// How far a step is.
    StepState {
        /// Not begun.
        Pending = 1 "PENDING",
        /// Begun; its effect may be there or not.
        Started = 2 "STARTED",
        /// Done.
        Done = 3 "DONE",
        /// Failed without effect, or with the effect that the error says.
        Failed = 4 "FAILED",
        /// Its runner was lost and the provider cannot tell what happened.
        Unclear = 5 "UNKNOWN",
        /// Not done, because something before it failed.
        Skipped = 6 "SKIPPED",
    }
}
