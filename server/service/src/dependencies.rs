//! What deployments need of each other: checked and kept when it is said, asked when something is removed, and shown.

use std::collections::{BTreeMap, BTreeSet};

use freehold_domain::{
    Error, Reason, Result, Violation,
    access::Caller,
    blueprints::{Document, InputSchema, did_you_mean},
    dependencies::{Binding, MAX_UPSTREAMS, Needs, in_need, listed, order, references},
    deployments::{Deployment, DeploymentState, Outputs},
    names::{DeploymentName, EnvironmentName, ProjectName, TenantName},
    resource::Page,
    time::Uid,
};
use freehold_store::{
    Session, Tx, blueprint_versions, dependencies,
    dependencies::{Edge, Needed},
    deployments,
    payloads::Kind,
    tenants,
};
use serde_json::{Map, Value};

use crate::{
    app::{App, Place},
    blueprints,
    deployments::inputs_of,
};

/// The permission to take outputs of a deployment as inputs of another one.
pub const BIND: &str = "deployments.outputs.bind";
/// Edges of one tenant, at most.
const EDGES: u32 = 50_000;
/// Deployments of a graph that is shown, at most.
const NODES: usize = 2000;
/// Serial of the outputs of the newest state.
const NEWEST: i64 = 0;
/// Serial of the outputs of the newest revision.
pub(crate) const COMMITTED: i64 = 1;

/// Keeps what a deployment needs, which follows from its complete inputs and from what it names besides.
///
/// Fails with `FIELD_INVALID` naming every wrong reference, `PERMISSION_MISSING` when the caller may not use what it newly refers
/// to. The row of the deployment has been written: who writes several holds deployments first and the graph last.
pub(crate) async fn declare(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    caller: &Caller,
    deployment: &Deployment,
    schema: &InputSchema,
    inputs: &Map<String, Value>,
) -> Result<()> {
    let uid = deployment.meta.uid;
    let before: BTreeMap<Uid, Needed> = dependencies::of(tx, place.scope, uid).await?.into_iter().collect();
    let wanted = wanted(deployment, schema, inputs);
    if wanted.is_empty() && before.is_empty() {
        return Ok(());
    }
    if wanted.len() > MAX_UPSTREAMS {
        let why = format!("it needs {} deployments; {MAX_UPSTREAMS} are the most", wanted.len());
        return Err(Error::field("deployment.depends_on", why));
    }
    let mut wrong = Vec::new();
    let mut edges = Vec::new();
    for (name, needed) in wanted {
        if name.tenant != deployment.name.tenant {
            wrong.push(Violation::new("deployment.depends_on", format!("{name} is not of the same tenant")));
            continue;
        }
        if name == deployment.name {
            wrong.push(Violation::new(field(&needed), format!("{0} → {0}: a deployment cannot need itself", name.short())));
            continue;
        }
        let upstream = deployments::get(tx, place.scope, &name).await?;
        let known = upstream.as_ref().and_then(|upstream| before.get(&upstream.meta.uid));
        let news = known.is_none_or(|known| needed.bindings.iter().any(|binding| !known.bindings.contains(binding)));
        if news {
            // Asked before it is said whether there is such a deployment.
            let permission = if needed.bindings.is_empty() { "deployments.deployments.get" } else { BIND };
            caller.require_permission(permission, &name.to_string(), tx.now())?;
        }
        match upstream {
            Some(upstream) if upstream.state != DeploymentState::Abandoned => {
                if news {
                    check(app, tx, place, &upstream, &needed.bindings, &mut wrong).await?;
                }
                edges.push((upstream.meta.uid, needed));
            }
            _ => wrong.push(Violation::new(field(&needed), format!("there is no deployment {}; create it first", name.short()))),
        }
    }
    if !wrong.is_empty() {
        return Err(Error::invalid(wrong));
    }
    if edges.iter().any(|(upstream, _)| !before.contains_key(upstream)) {
        // Two that each add one half of a circle must see each other.
        tenants::hold(tx, place.scope.0.0).await?;
        if let Err(circle) = order(&with(tx, place, &deployment.name, uid, &edges).await?) {
            let why = format!("{circle}: a circle, in which none can be made first");
            return Err(Error::field("deployment.depends_on", why));
        }
    }
    dependencies::replace(tx, place.scope, uid, &edges).await
}

/// What a deployment needs, by name.
fn wanted(deployment: &Deployment, schema: &InputSchema, inputs: &Map<String, Value>) -> BTreeMap<DeploymentName, Needed> {
    let mut wanted: BTreeMap<DeploymentName, Needed> = references(schema, inputs, &deployment.name.tenant)
        .into_iter()
        .map(|(name, bindings)| (name, Needed { explicit: false, bindings }))
        .collect();
    for name in &deployment.depends_on {
        wanted.entry(name.clone()).or_default().explicit = true;
    }
    wanted
}

/// The field of a request that says so.
fn field(needed: &Needed) -> String {
    match needed.bindings.first() {
        Some(binding) => input_field(binding),
        None => "deployment.depends_on".to_owned(),
    }
}

fn input_field(binding: &Binding) -> String {
    format!("deployment.inputs.{}", binding.input.replace('/', "."))
}

/// Checks what can be known of outputs that may not be there yet.
async fn check(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    upstream: &Deployment,
    bindings: &[Binding],
    wrong: &mut Vec<Violation>,
) -> Result<()> {
    if bindings.is_empty() {
        return Ok(());
    }
    let version = blueprint_versions::get(tx, place.scope, &upstream.blueprint_version).await?;
    let version = version.ok_or_else(|| Error::internal(format!("{} is gone", upstream.blueprint_version)))?;
    let document = blueprints::document(app, tx, place, &version).await?;
    let committed = committed(app, tx, place, upstream).await?;
    for binding in bindings {
        if let Some(why) = unfit(binding, upstream, &document, &committed) {
            wrong.push(Violation::new(input_field(binding), why));
        }
    }
    Ok(())
}

fn unfit(binding: &Binding, upstream: &Deployment, document: &Document, committed: &Outputs) -> Option<String> {
    let said = document.outputs().iter().find(|output| output.name == binding.output);
    let made = committed.get(&binding.output);
    // The outputs of a module are known only once it was applied.
    if said.is_none() && made.is_none() && document.module().is_none() {
        let known = document.outputs().iter().map(|output| output.name.as_str());
        let hint = did_you_mean(&binding.output, known.clone());
        let known: Vec<&str> = known.collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Some(format!("{} has no output `{}`{hint}; it has {known}", upstream.name.short(), binding.output));
    }
    let sensitive = said.is_some_and(|output| output.sensitive) || made.is_some_and(|output| output.sensitive);
    (sensitive && !binding.sensitive).then(|| {
        format!(
            "the output `{}` of {} is sensitive, and this input is shown to everybody; use a blueprint version in which the \
             input says `sensitive: true`",
            binding.output,
            upstream.name.short()
        )
    })
}

/// The graph of the tenant with these edges in the place of those of one deployment, by short names.
async fn with(tx: &mut Tx, place: &Place, name: &DeploymentName, uid: Uid, edges: &[(Uid, Needed)]) -> Result<Needs<String>> {
    let known = edges_of(tx, place).await?;
    let mut needs = Needs::<String>::new();
    for edge in known.iter().filter(|edge| edge.deployment != uid) {
        needs.entry(short(&edge.name)).or_default().insert(short(&edge.upstream_name));
    }
    for (upstream, _) in edges {
        let upstream = deployments::get_by_uid(tx, place.scope, *upstream).await?;
        needs.entry(name.short()).or_default().extend(upstream.map(|upstream| upstream.name.short()));
    }
    Ok(needs)
}

fn short(name: &str) -> String {
    name.parse::<DeploymentName>().map_or_else(|_| name.to_owned(), |name| name.short())
}

/// All edges of a tenant.
///
/// Fails with `STATE_NOT_ALLOWED` when there are more than anybody can look at in one go.
pub(crate) async fn edges_of(db: &mut Session, place: &Place) -> Result<Vec<Edge>> {
    let edges = dependencies::all(db, place.scope, EDGES).await?;
    if edges.len() >= EDGES as usize {
        let why = format!("{} has {EDGES} dependencies between deployments, which is the most; remove some", place.tenant.name);
        return Err(Error::new(Reason::StateNotAllowed, why).with("state", "dependencies").with("allowed_states", "fewer"));
    }
    Ok(edges)
}

/// After a rollback: keeps what the deployment needs now. What is gone, or would close a circle, is left out: an apply says so.
pub(crate) async fn redeclare(app: &App, tx: &mut Tx, place: &Place, deployment: &Deployment) -> Result<()> {
    let uid = deployment.meta.uid;
    let version = blueprint_versions::get(tx, place.scope, &deployment.blueprint_version).await?;
    let version = version.ok_or_else(|| Error::internal(format!("{} is gone", deployment.blueprint_version)))?;
    let document = blueprints::document(app, tx, place, &version).await?;
    let inputs = inputs_of(app, tx, place, uid).await?;
    let mut edges = Vec::new();
    for (name, needed) in wanted(deployment, document.inputs(), &inputs) {
        if let Some(upstream) = deployments::get(tx, place.scope, &name).await? {
            edges.push((upstream.meta.uid, needed));
        }
    }
    tenants::hold(tx, place.scope.0.0).await?;
    match order(&with(tx, place, &deployment.name, uid, &edges).await?) {
        Ok(_) => dependencies::replace(tx, place.scope, uid, &edges).await,
        Err(_) => Ok(()),
    }
}

/// Outputs of the newest revision; none when there is none.
pub(crate) async fn committed(app: &App, db: &mut Session, place: &Place, deployment: &Deployment) -> Result<Outputs> {
    if deployment.observed_revision == 0 {
        return Ok(Outputs::new());
    }
    let uid = deployment.meta.uid;
    let bytes = match app.open(db, place, uid, Kind::Outputs, COMMITTED).await? {
        Some(bytes) => Some(bytes),
        None => app.open(db, place, uid, Kind::Outputs, NEWEST).await?,
    };
    bytes.map_or_else(|| Ok(Outputs::new()), |bytes| serde_json::from_slice(&bytes).map_err(Error::internal))
}

/// Keeps the outputs of the newest state as those of the newest revision; answers the names of those that differ from before.
pub(crate) async fn commit_outputs(app: &App, tx: &mut Tx, place: &Place, deployment: Uid) -> Result<BTreeSet<String>> {
    let read = |bytes: Option<Vec<u8>>| -> Result<Outputs> {
        bytes.map_or_else(|| Ok(Outputs::new()), |bytes| serde_json::from_slice(&bytes).map_err(Error::internal))
    };
    let before = read(app.open(tx, place, deployment, Kind::Outputs, COMMITTED).await?)?;
    let bytes = app.open(tx, place, deployment, Kind::Outputs, NEWEST).await?;
    if let Some(bytes) = &bytes {
        app.put(tx, place, deployment, Kind::Outputs, COMMITTED, bytes).await?;
    }
    let now = read(bytes)?;
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    Ok(names.into_iter().filter(|name| before.get(*name) != now.get(*name)).cloned().collect())
}

/// Fails while something real needs this deployment, which would be pulled from under it.
pub(crate) async fn expect_no_dependants(tx: &mut Tx, place: &Place, deployment: &Deployment, what: &str) -> Result<()> {
    let dependants = dependencies::dependants(tx, place.scope, deployment.meta.uid).await?;
    let names = in_need(&dependants);
    let Some(first) = names.first() else { return Ok(()) };
    let why = format!(
        "{} need {}; destroy them first, or the whole environment in order, or have them need it no longer, then {what} it",
        listed(&names),
        deployment.name.short()
    );
    Err(Error::new(Reason::ResourceInUse, why).with("resource", first))
}

/// Fails while any deployment names this one as what it needs.
pub(crate) async fn expect_nobody_needs(tx: &mut Tx, place: &Place, deployment: &Deployment) -> Result<()> {
    let dependants = dependencies::dependants(tx, place.scope, deployment.meta.uid).await?;
    let names: Vec<&DeploymentName> = dependants.iter().map(|dependant| &dependant.name).collect();
    let Some(first) = names.first() else { return Ok(()) };
    let why = format!(
        "{} name {} as what they need; delete them first, or have them need it no longer",
        listed(&names),
        deployment.name.short()
    );
    Err(Error::new(Reason::ResourceInUse, why).with("resource", first))
}

/// What a graph is about.
#[derive(Clone, Debug)]
pub enum Scope {
    /// All of a tenant.
    Tenant(TenantName),
    /// A project.
    Project(ProjectName),
    /// An environment.
    Environment(EnvironmentName),
}

impl Scope {
    fn tenant(&self) -> TenantName {
        match self {
            Self::Tenant(name) => name.clone(),
            Self::Project(name) => name.tenant_name(),
            Self::Environment(name) => name.tenant_name(),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Tenant(name) => name.to_string(),
            Self::Project(name) => name.to_string(),
            Self::Environment(name) => name.to_string(),
        }
    }
}

/// Deployments and what they need of each other.
pub struct DependencyGraph {
    /// Deployments inside of what was asked for, with their states, each after all that it needs; then those outside of it that
    /// they need or that need them, of which only the name is known.
    pub nodes: Vec<(String, Option<DeploymentState>)>,
    /// Which needs which, and what for, by name.
    pub edges: Vec<(String, String, Needed)>,
}

/// The graph of a tenant, a project or an environment.
///
/// Fails with `FIELD_INVALID` when there is more of it than is shown in one piece.
pub async fn graph(app: &App, caller: &Caller, scope: &Scope) -> Result<DependencyGraph> {
    let inside = scope.name();
    let place = app.enter(caller, &scope.tenant(), &inside).await?;
    let mut db = app.store.read().await?;
    let mut states: BTreeMap<String, DeploymentState> = BTreeMap::new();
    let mut page = Page { size: 500, after: None, newest_first: false };
    let below = format!("{inside}/");
    loop {
        let listed = match scope {
            Scope::Environment(_) => deployments::list(&mut db, place.scope, &inside, page).await?,
            _ => deployments::list_all(&mut db, place.scope, page).await?,
        };
        let found = listed.items.into_iter().map(|deployment| (deployment.name.to_string(), deployment.state));
        states.extend(found.filter(|(name, _)| name.starts_with(&below)));
        if states.len() > NODES {
            return Err(Error::field(
                "parent",
                format!("it has more than {NODES} deployments; ask for a project or an environment"),
            ));
        }
        match listed.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    let edges = edges_of(&mut db, &place).await?;
    let edges: Vec<_> = edges
        .into_iter()
        .filter(|edge| states.contains_key(&edge.name) || states.contains_key(&edge.upstream_name))
        .map(|edge| (edge.name, edge.upstream_name, edge.needed))
        .collect();
    let mut needs: Needs<String> = states.keys().map(|name| (name.clone(), BTreeSet::new())).collect();
    for (deployment, upstream, _) in &edges {
        needs.entry(deployment.clone()).or_default().insert(upstream.clone());
    }
    let names = order(&needs).map_err(|circle| Error::internal(format!("dependencies are a circle: {circle}")))?;
    let (inside, outside): (Vec<_>, Vec<_>) =
        names.into_iter().map(|name| (states.get(&name).copied(), name)).partition(|(state, _)| state.is_some());
    let nodes = inside.into_iter().chain(outside).map(|(state, name)| (name, state)).collect();
    Ok(DependencyGraph { nodes, edges })
}
