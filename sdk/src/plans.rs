//! Plans: what a run would do.

use std::fmt;

use freehold_proto::deployments::v1 as pb;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    RunDependency,
    wire::{resource, values},
};

resource! {
    /// What a run would do.
    RunPlan = pb::RunPlan {
        /// Digest of the plan, `sha256:…`; approvals are bound to it.
        digest: String,
        /// How firmly the apply keeps to it.
        binding: PlanBinding,
        /// Serial of the state it was made against.
        base_serial: i64,
        /// In the order of their addresses.
        changes: Vec<ResourceChange>,
        /// Numbers.
        summary: Option<PlanSummary>,
        /// Outputs.
        outputs: Vec<OutputChange>,
        /// When it was made.
        create_time: Option<Timestamp>,
        /// Outputs of other deployments that it was made with.
        dependencies: Vec<RunDependency>,
    }
}

impl RunPlan {
    /// The numbers in words, `Plan: 3 to create, 0 to change, 1 to destroy.`
    pub fn summary(&self) -> String {
        self.summary.unwrap_or_default().to_string()
    }
}

resource! {
    /// Numbers of a plan.
    #[derive(Copy, Default)]
    PlanSummary = pb::PlanSummary {
        /// Resources to create.
        create: i32,
        /// Resources to change in place.
        update: i32,
        /// Resources to destroy and create anew.
        replace: i32,
        /// Resources to destroy.
        delete: i32,
        /// Resources to leave alone.
        unchanged: i32,
        /// Resources that are not as they were made.
        drifted: i32,
        /// Changes that a rollback undoes.
        reversible: i32,
        /// Changes that a rollback undoes but for data that is lost.
        reversible_with_data_loss: i32,
        /// Changes that nothing undoes.
        irreversible: i32,
        /// Changes of which the engine cannot tell.
        unknown_reversibility: i32,
    }
}

values! {
    /// Whether a change can be undone by going back to the revision before it.
    Reversibility {
        /// A rollback makes it as it was.
        Reversible = 1 "REVERSIBLE",
        /// A rollback makes it again, without some of the data that was in it.
        ReversibleWithDataLoss = 2 "REVERSIBLE_WITH_DATA_LOSS",
        /// What is lost cannot be made again.
        Irreversible = 3 "IRREVERSIBLE",
        /// The engine cannot tell.
        Unclear = 4 "UNKNOWN",
    }
}

impl PlanSummary {
    /// There is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.create + self.update + self.replace + self.delete == 0
    }
}

/// As Terraform counts: what is replaced is destroyed and created.
impl fmt::Display for PlanSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (create, destroy) = (self.create + self.replace, self.delete + self.replace);
        write!(f, "Plan: {create} to create, {} to change, {destroy} to destroy.", self.update)
    }
}

values! {
    /// How firmly an apply keeps to its plan.
    PlanBinding {
        /// Just these steps.
        Exact = 1 "EXACT",
        /// These steps after another look.
        Revalidated = 2 "REVALIDATED",
        /// What the engine then finds.
        IntentOnly = 3 "INTENT_ONLY",
    }
}

resource! {
    /// What a plan does to one resource.
    ResourceChange = pb::ResourceChange {
        /// `type.name`, for example `file.motd`.
        address: String,
        /// Kind of resource, for example `file`.
        r#type: String,
        /// What is done.
        action: ChangeAction,
        /// Attributes with their values.
        attributes: Vec<AttributeChange>,
        /// Addresses that come first.
        depends_on: Vec<String>,
        /// Why it must be replaced, or what drifted.
        reason: Option<String>,
        /// It is not as it was made.
        drifted: bool,
        /// Whether it can be undone; absent for what is left alone.
        reversibility: Option<Reversibility>,
    }
}

values! {
    /// What a plan does to a resource.
    ChangeAction {
        /// Creates it.
        Create = 1 "CREATE",
        /// Changes it in place.
        Update = 2 "UPDATE",
        /// Destroys it and creates it anew.
        Replace = 3 "REPLACE",
        /// Destroys it.
        Delete = 4 "DELETE",
        /// Leaves it alone.
        Noop = 5 "NOOP",
    }
}

resource! {
    /// One attribute in a plan.
    AttributeChange = pb::AttributeChange {
        /// Name of the attribute.
        path: String,
        /// Value before; absent when there is none.
        before: Option<Value>,
        /// Value after; absent when there is none or it is not known yet.
        after: Option<Value>,
        /// Known only after the apply.
        unknown_after: bool,
        /// Values are hidden.
        sensitive: bool,
        /// Cannot be changed in place.
        forces_replacement: bool,
    }
}

resource! {
    /// One output in a plan.
    OutputChange = pb::OutputChange {
        /// Its name.
        name: String,
        /// Value before; absent when there is none.
        before: Option<Value>,
        /// Value after; absent when not known yet.
        after: Option<Value>,
        /// Known only after the apply.
        unknown_after: bool,
        /// Values are hidden.
        sensitive: bool,
        /// What becomes of it; where values are hidden, only this says whether they differ.
        action: ChangeAction,
    }
}
