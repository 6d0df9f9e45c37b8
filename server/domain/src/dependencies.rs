//! What deployments need of each other: inputs that are outputs of others, and the order that follows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    blueprints::{Format, Graph, Input, InputSchema, Kind, MAX_INPUTS_BYTES, Schema, is_name},
    deployments::{Deployment, DeploymentState, Outputs},
    names::{DeploymentName, Id},
    runs::{Run, RunError, RunKind},
    time::Uid,
};

/// The most deployments that one deployment may depend on.
pub const MAX_UPSTREAMS: usize = 50;

/// An output of a deployment of the same tenant, as an input names it: `shop/dev/network#vpc_id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutputRef {
    project: Id,
    environment: Id,
    deployment: Id,
    output: String,
}

impl OutputRef {
    /// The deployment, in this tenant.
    pub fn deployment_name(&self, tenant: &Id) -> DeploymentName {
        let Self { project, environment, deployment, .. } = self.clone();
        DeploymentName { tenant: tenant.clone(), project, environment, deployment }
    }
}

impl FromStr for OutputRef {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (deployment, output) = text.split_once('#').ok_or(())?;
        let ids = deployment.split('/').map(|id| id.parse().map_err(drop)).collect::<Result<Vec<Id>, ()>>()?;
        let [project, environment, deployment] = ids.try_into().map_err(drop)?;
        is_name(output).then(|| Self { project, environment, deployment, output: output.to_owned() }).ok_or(())
    }
}

impl fmt::Display for OutputRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { project, environment, deployment, output } = self;
        write!(f, "{project}/{environment}/{deployment}#{output}")
    }
}

/// An input that takes its value from an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Where the value goes: the input's name, or its name and the way to a part of it, as `subnets/0`; parts are written as in a
    /// JSON pointer (RFC 6901).
    pub input: String,
    /// The output that it is taken from.
    pub output: String,
    /// Whether nobody may read the input.
    pub sensitive: bool,
}

impl Binding {
    /// The input as a whole.
    pub fn name(&self) -> &str {
        self.input.split('/').next().unwrap_or_default()
    }
}

/// A deployment that another one needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The deployment that comes first.
    pub upstream: DeploymentName,
    /// Its uid; a later deployment of the same name is another one.
    pub uid: Uid,
    /// Inputs that are taken from its outputs; none when it only has to be there.
    pub bindings: Vec<Binding>,
    /// Its revision whose outputs were taken; 0 before they were.
    #[serde(default)]
    pub revision: i64,
    /// Serial of its state at that moment.
    #[serde(default)]
    pub state_serial: i64,
}

/// The references in complete inputs, each with where it stands, by the deployment that it names.
pub fn references(schema: &InputSchema, inputs: &Map<String, Value>, tenant: &Id) -> BTreeMap<DeploymentName, Vec<Binding>> {
    let mut found: BTreeMap<DeploymentName, Vec<Binding>> = BTreeMap::new();
    for input in schema.inputs() {
        let mut note = |path: &str, text: &str| {
            let Ok(reference) = text.parse::<OutputRef>() else { return };
            let binding = Binding { input: path.to_owned(), output: reference.output.clone(), sensitive: input.sensitive };
            found.entry(reference.deployment_name(tenant)).or_default().push(binding);
        };
        walk_input(input, inputs, "", &mut note);
    }
    found
}

fn walk_input(input: &Input, values: &Map<String, Value>, above: &str, note: &mut impl FnMut(&str, &str)) {
    if let Some(value) = values.get(&input.name) {
        let path = if above.is_empty() { input.name.clone() } else { format!("{above}/{}", input.name) };
        walk(&input.schema, value, &path, note);
    }
}

fn walk(schema: &Schema, value: &Value, path: &str, note: &mut impl FnMut(&str, &str)) {
    match (&schema.kind, value) {
        (Kind::String { format: Some(Format::DeploymentOutputRef), .. }, Value::String(text)) => note(path, text),
        (Kind::List { items, .. }, Value::Array(list)) => {
            list.iter().enumerate().for_each(|(index, item)| walk(items, item, &format!("{path}/{index}"), note));
        }
        (Kind::Map { values }, Value::Object(entries)) => {
            for (key, item) in entries {
                let key = key.replace('~', "~0").replace('/', "~1");
                walk(values, item, &format!("{path}/{key}"), note);
            }
        }
        (Kind::Object { properties }, Value::Object(entries)) => {
            properties.iter().for_each(|property| walk_input(property, entries, path, note));
        }
        _ => {}
    }
}

/// What keeps the references to one deployment from being filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfilled {
    /// The output that there is none of.
    Missing(String),
    /// Nothing but another version or other inputs can mend it.
    Never(RunError),
}

/// Puts outputs into the places of the references to them.
pub fn fill(inputs: &mut Value, dependency: &Dependency, outputs: &Outputs) -> Result<(), Unfilled> {
    for binding in &dependency.bindings {
        let Some(output) = outputs.get(&binding.output) else { return Err(Unfilled::Missing(binding.output.clone())) };
        if output.sensitive && !binding.sensitive {
            return Err(Unfilled::Never(RunError::new(
                "sensitive-reference",
                format!(
                    "the output `{}` of {} is sensitive, and the input `{}` is shown to everybody",
                    binding.output,
                    dependency.upstream.short(),
                    binding.name()
                ),
                "use a blueprint version in which the input says `sensitive: true`",
                false,
            )));
        }
        if let Some(place) = inputs.pointer_mut(&format!("/{}", binding.input)) {
            *place = output.value.clone();
        }
    }
    let bytes = inputs.to_string().len();
    if bytes > MAX_INPUTS_BYTES {
        let why = format!(
            "with the outputs of {} the inputs have {bytes} bytes; {MAX_INPUTS_BYTES} are possible",
            dependency.upstream.short()
        );
        return Err(Unfilled::Never(RunError::new("inputs-too-large", why, "refer to smaller outputs", false)));
    }
    Ok(())
}

/// Something that a run waits for, outside of its own deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The deployment or the run.
    pub resource: String,
    /// In words, with what ends it.
    pub detail: String,
}

impl Wait {
    /// For a deployment to be otherwise.
    pub fn for_deployment(name: &DeploymentName, detail: String) -> Self {
        Self { resource: name.to_string(), detail }
    }
}

/// Why nothing may be made from the outputs of this deployment yet; nothing when it may. `changing` is the oldest of its own runs
/// that is to change it and has not ended.
pub fn not_ready(upstream: &Deployment, changing: Option<&Run>, must_be_undrifted: bool) -> Option<Wait> {
    let short = upstream.name.short();
    let wait = |detail: String| Some(Wait::for_deployment(&upstream.name, detail));
    if let Some(run) = changing {
        let detail = format!("the end of {}, which changes {short}", run.name);
        return Some(Wait { resource: run.name.to_string(), detail });
    }
    match upstream.state {
        DeploymentState::New | DeploymentState::Destroyed | DeploymentState::Abandoned => {
            wait(format!("{short} to be applied; it is {}", upstream.state.as_str()))
        }
        DeploymentState::Partial => wait(format!("{short} to be applied to its end; it is PARTIAL")),
        DeploymentState::Quarantined => wait(format!("the state of {short} to be restored; it is QUARANTINED")),
        DeploymentState::Active if upstream.drifted && must_be_undrifted => {
            wait(format!("{short} to be as it was made; it has drifted, and an apply brings it back"))
        }
        DeploymentState::Active => None,
    }
}

/// Which of these still need what is to be removed, by their names.
pub fn in_need(dependants: &[Deployment]) -> Vec<&DeploymentName> {
    let needs = |deployment: &&Deployment| deployment.state.is_real() || deployment.active_run.is_some();
    dependants.iter().filter(needs).map(|deployment| &deployment.name).collect()
}

/// Names in one line, the first few of them.
pub fn listed(names: &[&DeploymentName]) -> String {
    const SHOWN: usize = 10;
    let mut text = names.iter().take(SHOWN).map(|name| name.short()).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}

/// Whether runs of this kind take the present outputs of other deployments. The others work with what was taken before.
pub const fn takes_outputs(kind: RunKind) -> bool {
    matches!(kind, RunKind::Apply | RunKind::Plan)
}

/// Each deployment of a tenant with those that it needs.
pub type Needs<N> = BTreeMap<N, BTreeSet<N>>;

/// An order in which each comes after all that it needs.
///
/// # Errors
/// A cycle, with each name before the one that it needs, and the first one again at the end: `a → b → a`.
pub fn order(needs: &Needs<String>) -> Result<Vec<String>, String> {
    let mut all = needs.clone();
    needs.values().flatten().for_each(|name| {
        all.entry(name.clone()).or_default();
    });
    match Graph::new(all) {
        Ok(graph) => Ok(graph.order().to_vec()),
        Err(cycles) => {
            let mut cycle = cycles.into_iter().next().unwrap_or_default();
            cycle.extend(cycle.first().cloned());
            Err(cycle.join(" → "))
        }
    }
}

/// Everything that a deployment needs, directly or not.
pub fn ancestors<N: Ord + Copy>(needs: &Needs<N>, of: N) -> BTreeSet<N> {
    let mut found = BTreeSet::new();
    let mut open = vec![of];
    while let Some(next) = open.pop() {
        open.extend(needs.get(&next).into_iter().flatten().copied().filter(|needed| found.insert(*needed)));
    }
    found
}

#[cfg(test)]
mod tests;
