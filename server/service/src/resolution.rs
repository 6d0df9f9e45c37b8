//! Outputs as inputs: taken from committed results when a run is planned, and compared when it is applied.

use freehold_domain::{
    Error, Reason, Result,
    blueprints::BlueprintVersion,
    dependencies::{Dependency, Unfilled, Wait, fill, in_need, listed, not_ready, references, takes_outputs},
    deployments::{ConditionKind, Deployment},
    names::DeploymentName,
    runs::{Run, RunError, RunEvent, RunKind, RunPhase},
    time::{Timestamp, Uid},
};
use freehold_store::{
    Session, Tx, dependencies, deployments,
    payloads::{self, Kind},
    runs,
};
use serde_json::{Map, Value};

use crate::{
    app::{App, Place},
    blueprints,
    dependencies::{commit_outputs, committed, redeclare},
    deployments::{RESOLVED, bytes, inputs_of},
    runs::{deployment_of, environment_of},
};

/// What a run was made of.
pub(crate) struct Made {
    /// Inputs as they were said.
    pub(crate) inputs: Map<String, Value>,
    /// The same with outputs of other deployments filled in, if there were any.
    pub(crate) resolved: Option<Map<String, Value>>,
    /// Which outputs.
    pub(crate) dependencies: Vec<Dependency>,
}

/// What an earlier run was made of.
pub(crate) async fn made_by(app: &App, db: &mut Session, place: &Place, run: Uid) -> Result<Made> {
    let inputs = inputs_of(app, db, place, run).await?;
    let Some(run) = runs::get(db, place.scope, run).await?.filter(|run| run.resolved) else {
        return Ok(Made { inputs, resolved: None, dependencies: Vec::new() });
    };
    let resolved = resolved_of(app, db, place, run.uid()).await?;
    Ok(Made { inputs, resolved: Some(resolved), dependencies: run.dependencies })
}

async fn resolved_of(app: &App, db: &mut Session, place: &Place, run: Uid) -> Result<Map<String, Value>> {
    let sealed = app.open(db, place, run, Kind::Inputs, RESOLVED).await?;
    let bytes = sealed.ok_or_else(|| Error::internal(format!("the resolved inputs of {run} are gone")))?;
    serde_json::from_slice(&bytes).map_err(Error::internal)
}

/// The inputs that a run is planned with.
pub(crate) async fn inputs_for(app: &App, db: &mut Session, place: &Place, run: &Run) -> Result<Map<String, Value>> {
    if run.resolved { resolved_of(app, db, place, run.uid()).await } else { inputs_of(app, db, place, run.uid()).await }
}

/// What a run that begins now is to take from other deployments; nothing is taken yet.
///
/// Fails with `STATE_NOT_ALLOWED` when one of them does not exist any more.
pub(crate) async fn of_run(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    deployment: &Deployment,
    version: &BlueprintVersion,
    inputs: &Map<String, Value>,
) -> Result<Vec<Dependency>> {
    let document = blueprints::document(app, tx, place, version).await?;
    let mut wanted = references(document.inputs(), inputs, &deployment.name.tenant);
    for name in &deployment.depends_on {
        wanted.entry(name.clone()).or_default();
    }
    let mut dependencies = Vec::new();
    for (upstream, bindings) in wanted {
        let Some(found) = deployments::get(tx, place.scope, &upstream).await? else {
            let why = format!("it needs {}, which does not exist; create that, or update what this one needs", upstream.short());
            return Err(Error::new(Reason::StateNotAllowed, why)
                .with("state", "DEPENDENCY_MISSING")
                .with("allowed_states", "deployments that exist"));
        };
        dependencies.push(Dependency { upstream, uid: found.meta.uid, bindings, revision: 0, state_serial: 0 });
    }
    Ok(dependencies)
}

/// What other deployments, and the state of its own, mean for a run that waits for a runner.
enum Outlook {
    /// Nothing.
    Clear,
    /// It waits for something else first.
    Waits(Wait),
    /// It ends here.
    Ends(RunEvent),
    /// It is planned with these inputs, taken from these deployments.
    Takes(Map<String, Value>, Vec<Dependency>),
}

async fn outlook(app: &App, db: &mut Session, place: &Place, run: &Run) -> Result<Outlook> {
    if !matches!(run.phase, RunPhase::Queued | RunPhase::ApplyQueued) {
        return Ok(Outlook::Clear);
    }
    let own = deployment_of(db, place, run).await?;
    if let Err(error) = own.expect_runnable(run.kind) {
        let refused = RunError::new("not-runnable", error.message(), "", false);
        return Ok(Outlook::Ends(RunEvent::Refused(refused)));
    }
    let repairs = run.kind == RunKind::Repair;
    if !repairs
        && own.state_serial > 0
        && !payloads::exists(db, place.scope, run.deployment, Kind::State, own.state_serial).await?
    {
        let why = format!("version {} of the state is missing, so nobody knows what exists", own.state_serial);
        let hint = "restore or import the state, or abandon the deployment";
        return Ok(Outlook::Ends(RunEvent::StateLost(RunError::new("state-missing", why, hint, false))));
    }
    if run.phase == RunPhase::ApplyQueued && run.kind == RunKind::Destroy {
        let dependants = dependencies::dependants(db, place.scope, run.deployment).await?;
        let names = in_need(&dependants);
        return Ok(names.first().map_or(Outlook::Clear, |first| {
            let detail = format!("{} to be destroyed first, or to need {} no longer", listed(&names), own.name.short());
            Outlook::Waits(Wait::for_deployment(first, detail))
        }));
    }
    // A run that mends makes real again what was made, of what it was made of.
    if run.dependencies.is_empty() || !takes_outputs(run.kind) || run.limited_to.is_some() {
        return Ok(Outlook::Clear);
    }
    let strict = own.require_undrifted_dependencies || environment_of(db, place, &own.name).await?.require_undrifted_dependencies;
    match take(app, db, place, run, strict).await? {
        Taken::Waits(wait) => Ok(Outlook::Waits(wait)),
        Taken::Never(error) => Ok(Outlook::Ends(RunEvent::Refused(error))),
        Taken::Inputs(inputs, _) if run.phase == RunPhase::ApplyQueued => {
            let same = !run.resolved || resolved_of(app, db, place, run.uid()).await? == inputs;
            Ok(if same { Outlook::Clear } else { Outlook::Ends(RunEvent::WentStale) })
        }
        Taken::Inputs(inputs, dependencies) => Ok(Outlook::Takes(inputs, dependencies)),
    }
}

/// What keeps a run that waits from being taken by a runner, as far as it lies in other deployments or in a lost state; `None`
/// when nothing does. A run that is to be planned has the outputs that it needs filled in.
pub(crate) async fn look(app: &App, tx: &mut Tx, place: &Place, run: &mut Run) -> Result<Option<RunEvent>> {
    match outlook(app, tx, place, run).await? {
        Outlook::Clear => Ok(None),
        Outlook::Waits(wait) => Ok(Some(RunEvent::WaitsFor(wait))),
        Outlook::Ends(event) => Ok(Some(event)),
        Outlook::Takes(inputs, dependencies) => {
            run.resolved = dependencies.iter().any(|dependency| !dependency.bindings.is_empty());
            run.dependencies = dependencies;
            if run.resolved {
                app.put(tx, place, run.uid(), Kind::Inputs, RESOLVED, &bytes(&inputs)?).await?;
            }
            Ok(None)
        }
    }
}

/// What a run waits for in other deployments at present; nothing when that is nothing.
pub(crate) async fn wait(app: &App, db: &mut Session, place: &Place, run: &Run) -> Result<Option<Wait>> {
    match outlook(app, db, place, run).await? {
        Outlook::Waits(wait) => Ok(Some(wait)),
        Outlook::Clear | Outlook::Ends(_) | Outlook::Takes(..) => Ok(None),
    }
}

/// What comes of taking outputs.
enum Taken {
    Waits(Wait),
    Never(RunError),
    Inputs(Map<String, Value>, Vec<Dependency>),
}

async fn take(app: &App, db: &mut Session, place: &Place, run: &Run, strict: bool) -> Result<Taken> {
    let mut inputs = Value::Object(inputs_of(app, db, place, run.uid()).await?);
    let mut dependencies = run.dependencies.clone();
    for dependency in &mut dependencies {
        let short = dependency.upstream.short();
        let Some(upstream) = deployments::get_by_uid(db, place.scope, dependency.uid).await? else {
            let why = format!("{short} does not exist any more");
            return Ok(Taken::Never(RunError::new("dependency-gone", why, "update what this deployment needs", false)));
        };
        let unfinished = runs::unfinished(db, place.scope, dependency.uid).await?;
        let changing = unfinished.iter().find(|run| run.kind.mutates());
        if let Some(wait) = not_ready(&upstream, changing, strict) {
            return Ok(Taken::Waits(wait));
        }
        let outputs = committed(app, db, place, &upstream).await?;
        match fill(&mut inputs, dependency, &outputs) {
            Ok(()) => {}
            Err(Unfilled::Never(error)) => return Ok(Taken::Never(error)),
            Err(Unfilled::Missing(output)) => {
                let detail =
                    format!("a revision of {short} with the output `{output}`; revision {} has none", upstream.observed_revision);
                return Ok(Taken::Waits(Wait::for_deployment(&dependency.upstream, detail)));
            }
        }
        (dependency.revision, dependency.state_serial) = (upstream.observed_revision, upstream.state_serial);
    }
    match inputs {
        Value::Object(inputs) => Ok(Taken::Inputs(inputs, dependencies)),
        _ => Err(Error::internal("inputs are an object")),
    }
}

/// Deployments whose outputs are not those any more that a run has taken.
pub(crate) async fn outdated(app: &App, db: &mut Session, place: &Place, run: &Run) -> Result<Vec<DeploymentName>> {
    let mut changed = Vec::new();
    if !run.resolved {
        return Ok(changed);
    }
    let taken = Value::Object(resolved_of(app, db, place, run.uid()).await?);
    for dependency in run.dependencies.iter().filter(|dependency| !dependency.bindings.is_empty()) {
        let mut now = taken.clone();
        let same = match deployments::get_by_uid(db, place.scope, dependency.uid).await? {
            Some(upstream) => fill(&mut now, dependency, &committed(app, db, place, &upstream).await?).is_ok() && now == taken,
            None => false,
        };
        if !same {
            changed.push(dependency.upstream.clone());
        }
    }
    Ok(changed)
}

/// What a new revision means for the deployment itself: it says whether what it has taken has changed meanwhile.
pub(crate) async fn settle(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    run: &Run,
    deployment: &mut Deployment,
    now: Timestamp,
) -> Result<()> {
    let changed = outdated(app, tx, place, run).await?;
    note(deployment, &changed, now);
    Ok(())
}

/// Says on the deployment that outputs of these have changed since they were taken, or that none have.
pub(crate) fn note(deployment: &mut Deployment, changed: &[DeploymentName], now: Timestamp) {
    if changed.is_empty() {
        deployment.conditions.remove(&ConditionKind::DependencyChanged);
    } else {
        let names: Vec<&DeploymentName> = changed.iter().collect();
        let message = format!("outputs of {} have changed since they were taken; an apply takes the new ones", listed(&names));
        deployment.set_condition(ConditionKind::DependencyChanged, message, now);
    }
}

/// What a new revision means for others: its outputs are committed, and those that take one that has changed are looked at. What it
/// has taken itself is looked at where that has changed meanwhile, unless somebody has just gone back to what it was.
pub(crate) async fn spread(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    run: &Run,
    deployment: &Deployment,
    now: Timestamp,
) -> Result<()> {
    let uid = deployment.meta.uid;
    let changed = commit_outputs(app, tx, place, uid).await?;
    for (dependant, needed) in dependencies::on(tx, place.scope, uid).await? {
        if needed.bindings.iter().any(|binding| changed.contains(&binding.output)) {
            dependencies::mark(tx, place.scope, dependant, uid, now).await?;
        }
    }
    if run.kind == RunKind::Rollback {
        dependencies::unmark(tx, place.scope, uid).await?;
        redeclare(app, tx, place, deployment).await
    } else if deployment.conditions.contains_key(&ConditionKind::DependencyChanged) {
        dependencies::mark_all(tx, place.scope, uid, now).await
    } else {
        Ok(())
    }
}
