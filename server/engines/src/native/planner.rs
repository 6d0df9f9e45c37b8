//! Makes plans: looks at what is there, and compares it with what the blueprint wants.

use std::collections::{BTreeMap, BTreeSet};

use freehold_domain::{
    blueprints::{Document, Partial},
    runs::Reversibility,
};
use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream,
};
use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::{
    NativeEngine,
    evaluation::{self, Desired, Evaluation},
    file::hex,
    graph, limited,
    narrator::Narrator,
    provider::{Owner, Provider},
    schema::Schema,
};
use crate::{
    Action, Level, Mode, PlanRequest, Sink, StepError,
    native::{Attributes, Change, Plan, Planned, PlannedOutput, Resource, State},
};

/// How many resources are looked at, or changed, at the same time.
pub(super) const PARALLEL: usize = 8;

/// Compares what a blueprint wants with what is there.
pub(super) async fn plan(engine: &NativeEngine, request: PlanRequest, sink: &dyn Sink) -> Result<Plan, StepError> {
    let narrator = Narrator::new(sink);
    let made = make(engine, request, sink, &narrator).await;
    made.map_err(|error| narrator.clean(error))
}

async fn make(engine: &NativeEngine, request: PlanRequest, sink: &dyn Sink, narrator: &Narrator<'_>) -> Result<Plan, StepError> {
    let document = match request.mode {
        Mode::Apply => Some(evaluation::parse(&request.files)?),
        // What is to be removed is in the state; the blueprint only helps to reach it.
        Mode::Destroy | Mode::Drift => Document::parse(&request.files).0,
    };
    let Looked { base, reached, seen } = refresh(engine, document.as_ref(), &request, sink, narrator).await?;
    let mut state = reached.clone();
    let mut changes = BTreeMap::new();
    let mut outputs = BTreeMap::new();
    if let Some(document) = document.as_ref().filter(|_| request.mode == Mode::Apply) {
        let mut evaluation = Evaluation::new(document, &request.inputs, &request.deployment);
        let mut problems = Vec::new();
        for name in document.graph().order() {
            let Some(resource) = document.resource(name) else { continue };
            match evaluation.is_wanted(resource) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    problems.push(format!("{}: when: {error}", resource.address()));
                    continue;
                }
            }
            let provider = engine.provider(&resource.kind).map_err(|error| error.at(&resource.address()))?;
            let address = resource.address();
            match evaluation.desired(resource, provider) {
                Ok(desired) => {
                    let recorded = base.resources.get(&address);
                    let depends_on = document
                        .graph()
                        .needs(name)
                        .filter_map(|needed| document.resource(needed))
                        .map(|needed| needed.address());
                    let found = seen.get(&address).cloned().flatten();
                    let change = compare(provider, name, recorded, found, desired, depends_on.collect());
                    learn_secrets(narrator, &change);
                    evaluation.learn(name, &change.after, change.sensitive.iter().cloned());
                    changes.insert(address, change);
                }
                Err(wrong) => {
                    // What it gives is taken as unknown, so that the rest can be checked as well.
                    let unknown =
                        provider.schema().attributes.iter().map(|attribute| (attribute.name.to_owned(), Planned::Unknown));
                    evaluation.learn(name, &unknown.collect(), Vec::new());
                    problems.extend(wrong);
                }
            }
        }
        // A resource that is switched off is not there to depend on.
        for address in changes.keys().cloned().collect::<Vec<_>>() {
            let kept: Vec<String> =
                changes[&address].depends_on.iter().filter(|needed| changes.contains_key(*needed)).cloned().collect();
            changes.entry(address).and_modify(|change| change.depends_on = kept);
        }
        for output in document.outputs() {
            match evaluation.value(&output.value) {
                Ok(found) => {
                    let after = Some(match found.value {
                        Partial::Known(value) => Planned::Known(value),
                        Partial::Unknown => Planned::Unknown,
                    });
                    let before = base.outputs.get(&output.name).cloned();
                    outputs.insert(
                        output.name.clone(),
                        PlannedOutput { before, after, sensitive: output.sensitive || found.sensitive },
                    );
                }
                Err(error) => problems.push(format!("output {}: {error}", output.name)),
            }
        }
        if !problems.is_empty() {
            return Err(evaluation::invalid(problems));
        }
    }
    for (name, before) in &base.outputs {
        let gone = || PlannedOutput { before: Some(before.clone()), after: None, sensitive: before.sensitive };
        outputs.entry(name.clone()).or_insert_with(gone);
    }
    for (address, resource) in &reached.resources {
        if !changes.contains_key(address) {
            changes.insert(address.clone(), removal(resource, seen.get(address).is_some_and(Option::is_none)));
        }
    }
    for (address, change) in &mut changes {
        change.step_id = step_id(&request.run, address);
        change.reversibility = reversibility(engine, change);
        settle(&mut state, change, seen.get(address).cloned().flatten());
    }
    for change in changes.values().filter(|change| change.action != Action::Noop) {
        narrator.log(Level::Info, &change.address, &told(change));
    }
    let steps = graph::steps(&changes);
    Ok(Plan {
        format: Plan::FORMAT,
        engine: NativeEngine::NAME.to_owned(),
        run: request.run,
        deployment: request.deployment,
        mode: request.mode,
        base_serial: base.serial,
        base_lineage: base.lineage,
        files: request.files,
        inputs: request.inputs,
        state,
        changes,
        steps,
        outputs,
    })
}

/// What is known before anything is compared.
pub(super) struct Looked {
    /// The state of the request.
    pub base: State,
    /// The same with the newest word on how to reach its resources.
    pub reached: State,
    /// Each resource as it is now; nothing for one that is gone.
    pub seen: BTreeMap<String, Option<Attributes>>,
}

/// Looks at every resource of a state.
pub(super) async fn refresh(
    engine: &NativeEngine,
    document: Option<&Document>,
    request: &PlanRequest,
    sink: &dyn Sink,
    narrator: &Narrator<'_>,
) -> Result<Looked, StepError> {
    // The server counts the writes; its serial is the one that the plan is bound to.
    let base = match &request.state {
        Some(bytes) => State { serial: request.serial, ..State::from_bytes(bytes)? },
        None => State::empty(&request.deployment.uid),
    };
    for secret in document.into_iter().flat_map(|document| document.inputs().sensitive_names()) {
        request.inputs.get(&secret).into_iter().for_each(|secret| narrator.learn(secret));
    }
    for resource in base.resources.values() {
        narrator.learn_attributes(&resource.attributes, resource.sensitive.iter().map(String::as_str));
    }
    let mut reached = base.clone();
    if let Some(document) = document {
        take_access(engine, document, request, &mut reached, narrator);
    }
    let looks: Vec<_> = reached.resources.values().map(|resource| look(engine, request, resource, sink)).collect();
    let found: Vec<Result<_, StepError>> = stream::iter(looks).buffered(PARALLEL).collect().await;
    let failed: Vec<&StepError> = found.iter().filter_map(|one| one.as_ref().err()).collect();
    if let [first, rest @ ..] = failed.as_slice() {
        let mut error = (*first).clone();
        error.retryable = failed.iter().all(|error| error.retryable);
        for other in rest {
            error.message.push_str(&format!("; {}: {}", other.address, other.message));
        }
        return Err(error);
    }
    Ok(Looked { base, seen: found.into_iter().filter_map(Result::ok).collect(), reached })
}

/// One resource as it is now.
fn look<'a>(
    engine: &'a NativeEngine,
    request: &'a PlanRequest,
    resource: &'a Resource,
    sink: &'a dyn Sink,
) -> BoxFuture<'a, Result<(String, Option<Attributes>), StepError>> {
    async move {
        if sink.cancelled() {
            return Err(StepError::new("cancelled", "somebody asked it to stop").at(&resource.address));
        }
        let crate::DeploymentIdentity { tenant, uid, .. } = request.deployment.clone();
        let owner = Owner { tenant, deployment: uid, address: resource.address.clone() };
        let found = match engine.provider(&resource.kind) {
            Ok(provider) => limited::look(provider.observe(resource, &owner)).await,
            Err(error) => Err(error),
        };
        found.map(|found| (resource.address.clone(), found)).map_err(|error| error.at(&resource.address))
    }
    .boxed()
}

/// Takes the newest word on how to reach resources, for example after a password was changed.
fn take_access(engine: &NativeEngine, document: &Document, request: &PlanRequest, state: &mut State, narrator: &Narrator<'_>) {
    let mut evaluation = Evaluation::new(document, &request.inputs, &request.deployment);
    for resource in state.resources.values() {
        evaluation.learn_known(&resource.name, &resource.attributes, resource.sensitive.iter().cloned());
    }
    for resource in state.resources.values_mut() {
        let Some(wanted) = document.resource(&resource.name).filter(|wanted| wanted.kind == resource.kind) else { continue };
        let Ok(provider) = engine.provider(&resource.kind) else { continue };
        for attribute in provider.schema().given().filter(|attribute| attribute.access) {
            // What cannot be told before the apply stays as it was.
            let value = wanted.attribute(attribute.name).and_then(|template| evaluation.value(template).ok());
            if let Some(Partial::Known(value)) = value.map(|value| value.value)
                && attribute.kind.problems(attribute.name, &value).is_empty()
            {
                narrator.learn(&value);
                resource.attributes.insert(attribute.name.to_owned(), value);
            }
        }
    }
}

/// Attributes whose values are not as they were made: those that are given, and computed ones that are tracked.
pub(super) fn drifted<'s>(schema: &'s Schema, recorded: &Attributes, found: &Attributes) -> Vec<&'s str> {
    let compared = schema.attributes.iter().filter(|attribute| (!attribute.computed || attribute.tracked) && !attribute.access);
    compared.map(|attribute| attribute.name).filter(|name| value(recorded, name) != value(found, name)).collect()
}

fn value<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a Value> {
    attributes.get(name).filter(|value| !value.is_null())
}

fn compare(
    provider: &dyn Provider,
    name: &str,
    recorded: Option<&Resource>,
    found: Option<Attributes>,
    desired: Desired,
    depends_on: Vec<String>,
) -> Change {
    let schema = provider.schema();
    let mut change = Change {
        address: format!("{}.{name}", schema.kind),
        kind: schema.kind.to_owned(),
        name: name.to_owned(),
        step_id: String::new(),
        action: Action::Create,
        before: None,
        after: desired.values,
        sensitive: desired.sensitive.into_iter().collect(),
        replaced_by: Vec::new(),
        depends_on,
        reason: String::new(),
        drifted: false,
        reversibility: Reversibility::Unknown,
    };
    let Some((recorded, found)) = recorded.zip(found) else {
        change.drifted = recorded.is_some();
        if change.drifted {
            "it was removed outside".clone_into(&mut change.reason);
        }
        make_unknown(schema, &mut change, |_| None);
        return change;
    };
    let outside = drifted(schema, &recorded.attributes, &found);
    // How it was reached so far is compared with how it shall be reached: the state has to learn of it.
    let mut found = found;
    for attribute in schema.given().filter(|attribute| attribute.access) {
        found.remove(attribute.name);
        found.extend(recorded.attributes.get_key_value(attribute.name).map(|(name, value)| (name.clone(), value.clone())));
    }
    let known: Attributes =
        change.after.iter().filter_map(|(name, value)| Some((name.clone(), value.known()?.clone()))).collect();
    let differs =
        |name: &str| change.after.get(name).map_or(Some(None), |planned| planned.known().map(Some)) != Some(value(&found, name));
    let mut changed: BTreeSet<&str> = schema.given().map(|attribute| attribute.name).filter(|name| differs(name)).collect();
    changed.extend(schema.computed().map(|attribute| attribute.name).filter(|name| outside.contains(name)));
    change.replaced_by = changed.iter().filter(|name| provider.replaces(name, &known)).map(|name| (*name).to_owned()).collect();
    let renewal = provider.renewal(&found);
    change.drifted = !outside.is_empty();
    let mut reasons = Vec::new();
    if !outside.is_empty() {
        reasons.push(format!("{} changed outside", list(&outside)));
    }
    if !change.replaced_by.is_empty() {
        reasons.push(format!("{} cannot be changed in place", list(&change.replaced_by)));
    }
    reasons.extend(renewal.clone());
    change.reason = reasons.join("; ");
    change.action = if !change.replaced_by.is_empty() || renewal.is_some() {
        Action::Replace
    } else if changed.is_empty() {
        Action::Noop
    } else {
        Action::Update
    };
    match change.action {
        Action::Replace => make_unknown(schema, &mut change, |_| None),
        Action::Update => {
            make_unknown(schema, &mut change, |name| value(&found, name).filter(|_| schema.get(name).is_some_and(|a| a.stable)))
        }
        _ => make_unknown(schema, &mut change, |name| value(&found, name)),
    }
    change.before = Some(Resource { attributes: found, ..recorded.clone() });
    change
}

/// Adds computed attributes: those that stay with their value, others as unknown.
fn make_unknown<'f>(schema: &Schema, change: &mut Change, kept: impl Fn(&str) -> Option<&'f Value>) {
    for attribute in schema.computed() {
        let planned = match (kept(attribute.name), change.action) {
            (Some(value), _) => Planned::Known(value.clone()),
            (None, Action::Noop) => continue,
            (None, _) => Planned::Unknown,
        };
        change.after.insert(attribute.name.to_owned(), planned);
    }
}

fn removal(resource: &Resource, gone: bool) -> Change {
    Change {
        address: resource.address.clone(),
        kind: resource.kind.clone(),
        name: resource.name.clone(),
        step_id: String::new(),
        action: Action::Delete,
        before: Some(resource.clone()),
        after: BTreeMap::new(),
        sensitive: resource.sensitive.clone(),
        replaced_by: Vec::new(),
        depends_on: Vec::new(),
        reason: if gone { "it was removed outside".to_owned() } else { String::new() },
        drifted: gone,
        reversibility: Reversibility::Unknown,
    }
}

/// Whether a change can be undone by going back to the revision before.
fn reversibility(engine: &NativeEngine, change: &Change) -> Reversibility {
    let Ok(provider) = engine.provider(&change.kind) else { return Reversibility::Unknown };
    let made_again = match change.action {
        Action::Noop => return Reversibility::Reversible,
        // It is not there: the state only learns of that.
        Action::Delete if change.drifted => return Reversibility::Reversible,
        action => provider.reversibility(action),
    };
    // A rollback makes what a blueprint says, and not what somebody else has made of it since.
    let loses_foreign = change.drifted && change.action != Action::Create;
    if loses_foreign && made_again == Reversibility::Reversible { Reversibility::ReversibleWithDataLoss } else { made_again }
}

/// Brings the state up to what was found.
fn settle(state: &mut State, change: &Change, found: Option<Attributes>) {
    if change.before.is_none() {
        state.resources.remove(&change.address);
    }
    let Some(resource) = state.resources.get_mut(&change.address) else { return };
    if let Some(found) = found {
        resource.attributes = found;
    }
    if change.action == Action::Noop {
        resource.sensitive.clone_from(&change.sensitive);
        resource.depends_on.clone_from(&change.depends_on);
    }
}

fn learn_secrets(narrator: &Narrator<'_>, change: &Change) {
    for name in &change.sensitive {
        change.after.get(name).and_then(Planned::known).into_iter().for_each(|secret| narrator.learn(secret));
    }
}

fn told(change: &Change) -> String {
    let what = match change.action {
        Action::Create => "will be created",
        Action::Update => "will be changed in place",
        Action::Replace => "will be replaced",
        Action::Delete => "will be removed",
        Action::Noop => "stays as it is",
    };
    if change.reason.is_empty() { what.to_owned() } else { format!("{what}: {}", change.reason) }
}

fn list(names: &[impl AsRef<str>]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// The same for the same run and resource, and for nothing else.
fn step_id(run: &str, address: &str) -> String {
    hex(&digest(&SHA256, format!("{run}\n{address}").as_bytes()).as_ref()[..16])
}
