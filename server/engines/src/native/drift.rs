//! Reports what happened to resources outside.

use std::collections::BTreeMap;

use freehold_domain::{blueprints::Document, runs::Reversibility};

use super::{
    NativeEngine,
    narrator::Narrator,
    planner::{Looked, drifted, refresh},
};
use crate::{
    Action, Level, Mode, PlanRequest, Sink, StepError,
    native::{Attributes, Change, Plan, Planned, Resource},
};

/// A plan without steps. Of each resource `before` is as it was made, `after` as it is, and the action is what happened.
pub(super) async fn report(engine: &NativeEngine, request: PlanRequest, sink: &dyn Sink) -> Result<Plan, StepError> {
    let narrator = Narrator::new(sink);
    let document = Document::parse(&request.files).0;
    let looked = refresh(engine, document.as_ref(), &request, sink, &narrator).await;
    let Looked { base, reached, mut seen } = looked.map_err(|error| narrator.clean(error))?;
    let mut changes = BTreeMap::new();
    for (address, resource) in &reached.resources {
        let found = seen.remove(address).flatten();
        let change = change(engine, resource, found)?;
        if change.drifted {
            narrator.log(Level::Warn, address, &change.reason);
        }
        changes.insert(address.clone(), change);
    }
    Ok(Plan {
        format: Plan::FORMAT,
        engine: NativeEngine::NAME.to_owned(),
        run: request.run,
        deployment: request.deployment,
        mode: Mode::Drift,
        base_serial: base.serial,
        base_lineage: base.lineage.clone(),
        files: request.files,
        inputs: request.inputs,
        state: base,
        changes,
        steps: Vec::new(),
        outputs: BTreeMap::new(),
    })
}

fn change(engine: &NativeEngine, resource: &Resource, found: Option<Attributes>) -> Result<Change, StepError> {
    let schema = engine.provider(&resource.kind)?.schema();
    let (action, reason, after) = match found {
        None => (Action::Delete, "it was removed outside".to_owned(), Attributes::new()),
        Some(mut found) => {
            let names = drifted(schema, &resource.attributes, &found);
            // What follows from the others, such as a digest, has not changed by itself.
            let mut after = resource.attributes.clone();
            for name in &names {
                match found.remove(*name) {
                    Some(value) => after.insert((*name).to_owned(), value),
                    None => after.remove(*name),
                };
            }
            match names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ") {
                none if none.is_empty() => (Action::Noop, String::new(), after),
                names => (Action::Update, format!("{names} changed outside"), after),
            }
        }
    };
    let after = after.into_iter().map(|(name, value)| (name, Planned::Known(value))).collect();
    Ok(Change {
        address: resource.address.clone(),
        kind: resource.kind.clone(),
        name: resource.name.clone(),
        step_id: String::new(),
        drifted: action != Action::Noop,
        action,
        before: Some(resource.clone()),
        after,
        sensitive: resource.sensitive.clone(),
        replaced_by: Vec::new(),
        depends_on: resource.depends_on.clone(),
        reason,
        // Nothing is done here, so there is nothing to undo.
        reversibility: Reversibility::Unknown,
    })
}
