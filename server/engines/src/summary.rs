//! What people see of a plan: `freehold.deployments.v1.RunPlan` without its wire form.

use freehold_domain::runs::Reversibility;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Mode,
    native::{Change, Plan, Planned},
};

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed in place.
    Update,
    /// It is removed and made anew.
    Replace,
    /// It is removed.
    Delete,
    /// It is left alone.
    Noop,
}

/// A plan for people; values that are secret are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Serial of the state it was made against.
    pub base_serial: u64,
    /// In the order of addresses.
    pub changes: Vec<ResourceChange>,
    /// Numbers.
    pub counts: PlanSummary,
    /// In the order of names.
    pub outputs: Vec<OutputChange>,
}

/// Numbers of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanSummary {
    /// Resources to make.
    pub create: usize,
    /// Resources to change in place.
    pub update: usize,
    /// Resources to remove and make anew.
    pub replace: usize,
    /// Resources to remove.
    pub delete: usize,
    /// Resources to leave alone.
    pub unchanged: usize,
    /// Resources that are not as they were made.
    pub drifted: usize,
    /// Changes that a rollback undoes.
    pub reversible: usize,
    /// Changes that a rollback undoes but for data that is lost.
    pub reversible_with_data_loss: usize,
    /// Changes that nothing undoes.
    pub irreversible: usize,
    /// Changes of which the engine cannot tell.
    pub unknown_reversibility: usize,
}

impl PlanSummary {
    /// Counts a change by whether it can be undone; nothing that is left alone.
    pub fn count(&mut self, action: Action, reversibility: Reversibility) {
        *match (action, reversibility) {
            (Action::Noop, _) => return,
            (_, Reversibility::Reversible) => &mut self.reversible,
            (_, Reversibility::ReversibleWithDataLoss) => &mut self.reversible_with_data_loss,
            (_, Reversibility::Irreversible) => &mut self.irreversible,
            (_, Reversibility::Unknown) => &mut self.unknown_reversibility,
        } += 1;
    }
}

/// What a plan does to one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceChange {
    /// `type.name`.
    pub address: String,
    /// Kind of resource.
    pub kind: String,
    /// What is done.
    pub action: Action,
    /// Attributes that change.
    pub attributes: Vec<AttributeChange>,
    /// Addresses that come first.
    pub depends_on: Vec<String>,
    /// Why it is replaced, or what happened to it outside.
    pub reason: String,
    /// It is not as it was made.
    pub drifted: bool,
    /// Whether it can be undone by going back to the revision before; says nothing of what is left alone.
    pub reversibility: Reversibility,
}

/// One attribute that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeChange {
    /// Its name.
    pub path: String,
    /// Value as JSON; empty when there is none, or it is secret.
    pub before: String,
    /// Value as JSON; empty when there is none, it is not known yet, or it is secret.
    pub after: String,
    /// Known only during the apply.
    pub unknown_after: bool,
    /// Values are hidden.
    pub sensitive: bool,
    /// Cannot be changed in place.
    pub forces_replacement: bool,
}

/// One output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputChange {
    /// Its name.
    pub name: String,
    /// Value as JSON; empty when there is none, or it is secret.
    pub before: String,
    /// Value as JSON; empty when there is none, it is not known yet, or it is secret.
    pub after: String,
    /// Known only during the apply.
    pub unknown_after: bool,
    /// Values are hidden.
    pub sensitive: bool,
    /// What becomes of it; where values are hidden, only this says whether they differ.
    pub action: Action,
}

impl Plan {
    /// The plan for people.
    pub fn summary_for_people(&self) -> Summary {
        let mut counts = PlanSummary::default();
        for change in self.changes.values() {
            *match change.action {
                Action::Create => &mut counts.create,
                Action::Update => &mut counts.update,
                Action::Replace => &mut counts.replace,
                Action::Delete => &mut counts.delete,
                Action::Noop => &mut counts.unchanged,
            } += 1;
            counts.drifted += usize::from(change.drifted);
            if self.mode != Mode::Drift {
                counts.count(change.action, change.reversibility);
            }
        }
        let outputs = self.outputs.iter().map(|(name, output)| {
            let sensitive = output.sensitive || output.before.as_ref().is_some_and(|before| before.sensitive);
            OutputChange {
                name: name.clone(),
                before: shown(output.before.as_ref().map(|before| &before.value), sensitive),
                after: shown(output.after.as_ref().and_then(Planned::known), sensitive),
                unknown_after: output.after == Some(Planned::Unknown),
                sensitive,
                action: output.action(),
            }
        });
        Summary {
            base_serial: self.base_serial,
            changes: self.changes.values().map(resource).collect(),
            counts,
            outputs: outputs.collect(),
        }
    }
}

fn resource(change: &Change) -> ResourceChange {
    // What was secret when it was made stays so, whatever the blueprint makes of the attribute now.
    let was_sensitive = |name: &String| change.before.as_ref().is_some_and(|resource| resource.sensitive.contains(name));
    let before = change.before.as_ref().map(|resource| &resource.attributes);
    let mut names: Vec<&String> =
        before.into_iter().flat_map(|attributes| attributes.keys()).chain(change.after.keys()).collect();
    names.sort();
    names.dedup();
    let attributes = names.into_iter().filter(|_| change.action != Action::Noop).filter_map(|name| {
        let before = before.and_then(|attributes| attributes.get(name)).filter(|value| !value.is_null());
        let after = change.after.get(name);
        let known = after.and_then(Planned::known).filter(|value| !value.is_null());
        let unknown_after = after == Some(&Planned::Unknown);
        if before == known && !unknown_after {
            return None;
        }
        let sensitive = change.sensitive.contains(name) || was_sensitive(name);
        Some(AttributeChange {
            path: name.clone(),
            before: shown(before, sensitive),
            after: shown(known, sensitive),
            unknown_after,
            sensitive,
            forces_replacement: change.replaced_by.contains(name),
        })
    });
    ResourceChange {
        address: change.address.clone(),
        kind: change.kind.clone(),
        action: change.action,
        attributes: attributes.collect(),
        depends_on: change.depends_on.clone(),
        reason: change.reason.clone(),
        drifted: change.drifted,
        reversibility: change.reversibility,
    }
}

fn shown(value: Option<&Value>, sensitive: bool) -> String {
    value.filter(|_| !sensitive).map(Value::to_string).unwrap_or_default()
}
