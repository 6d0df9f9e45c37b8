//! What deployments have made, version by version, and their outputs.

use freehold_domain::{
    Error, Reason, Result,
    access::{Caller, Principal},
    deployments::{Deployment, DeploymentState, ManagedResource, OutputValue, Outputs, StateVersion},
    events::Event,
    names::{DeploymentName, RunName, StateVersionName},
    quotas::Dimension,
    runs::{Run, RunError, RunEvent},
    state::{GraphFormat, StateLock, graph},
    terraform_state::{TerraformOutput, TerraformState},
    time::Uid,
};
use freehold_store::{
    RequestKey, Session, Tx, blueprint_versions, deployments, managed_resources,
    payloads::{self, Kind},
    runs,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    app::{App, Place, Write},
    approvals::sha256,
    deployments as desired,
    runs::{advance_with, woken},
};

/// How often a change is tried while others change the same deployment.
const TRIES: u32 = 8;

/// Tries again when somebody else was first: who was overtaken wants to know what is true now, which a caller who has read nothing
/// before cannot be told otherwise.
macro_rules! retried {
    ($attempt:expr) => {{
        let mut tries = 1;
        loop {
            match $attempt {
                Err(error) if error.reason() == Reason::EtagMismatch && tries < TRIES => tries += 1,
                done => break done,
            }
        }
    }};
}

/// The engine whose states are given and taken as they are.
const TERRAFORM: &str = "terraform";

/// A state as it is handed over.
pub struct NewState {
    /// As the engine wrote it.
    pub bytes: Vec<u8>,
    /// The resources in it.
    pub resources: Vec<ManagedResource>,
}

/// Who writes a state.
pub(crate) enum Writer<'a> {
    /// A runner, for a run.
    Run(&'a Run),
    /// A person.
    Person(&'a Principal),
}

/// The permission to see sensitive outputs.
pub const REVEAL: &str = "deployments.state.reveal";

/// One output.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its value; `None` when it is hidden.
    pub value: Option<Value>,
    /// Shown only on demand.
    pub sensitive: bool,
}

/// Returns one state version and its deployment.
pub async fn get(app: &App, caller: &Caller, name: &StateVersionName) -> Result<(Deployment, StateVersion)> {
    let parent = name.deployment_name();
    let place = app.enter(caller, &freehold_domain::names::TenantName { tenant: name.tenant.clone() }, &name.to_string()).await?;
    let mut db = app.store.read().await?;
    let deployment = desired::find(&mut db, &place, &parent).await?;
    let version = deployments::get_state(&mut db, place.scope, deployment.meta.uid, name.serial).await?;
    Ok((deployment, version.ok_or_else(|| Error::not_found(name))?))
}

/// Lists up to `size + 1` state versions after a serial.
pub async fn list(
    app: &App,
    caller: &Caller,
    parent: &DeploymentName,
    after: i64,
    size: u32,
) -> Result<(Deployment, Vec<StateVersion>)> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    let mut db = app.store.read().await?;
    let deployment = desired::find(&mut db, &place, parent).await?;
    let versions = deployments::list_states(&mut db, place.scope, deployment.meta.uid, after, size + 1).await?;
    Ok((deployment, versions))
}

/// Lists the outputs of the newest state. To reveal sensitive ones takes a permission of its own and is audited.
pub async fn outputs(app: &App, caller: &Caller, parent: &DeploymentName, reveal: bool) -> Result<Vec<Output>> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    if reveal {
        caller.require_permission(REVEAL, &parent.to_string(), app.now())?;
    }
    let mut db = app.store.read().await?;
    let deployment = desired::find(&mut db, &place, parent).await?;
    let Some(bytes) = app.open(&mut db, &place, deployment.meta.uid, Kind::Outputs, 0).await? else { return Ok(Vec::new()) };
    drop(db);
    if reveal {
        // No audit, no secret.
        let mut tx = app.store.begin(caller, place.scope, &RequestKey::NONE).await?;
        tx.announce(Event::new("deployment.outputs_revealed", parent, deployment.meta.uid, deployment.meta.version));
        tx.commit(&()).await?;
    }
    let stored: Outputs = serde_json::from_slice(&bytes).map_err(Error::internal)?;
    let shown = |(name, output): (String, OutputValue)| {
        let hidden = output.sensitive && !reveal;
        Output { name, value: (!hidden).then_some(output.value), sensitive: output.sensitive }
    };
    Ok(stored.into_iter().map(shown).collect())
}

/// Returns the content of a state version, of the newest one for serial 0, with its digest. It holds secrets, so that is audited.
pub async fn download(
    app: &App,
    caller: &Caller,
    parent: &DeploymentName,
    serial: i64,
) -> Result<Option<(StateVersion, Vec<u8>)>> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    let mut db = app.store.read().await?;
    let deployment = desired::find(&mut db, &place, parent).await?;
    let serial = if serial == 0 { deployment.state_serial } else { serial };
    if serial == 0 {
        return Ok(None);
    }
    let gone = || Error::not_found(format!("{parent}/stateVersions/{serial}"));
    let version = deployments::get_state(&mut db, place.scope, deployment.meta.uid, serial).await?.ok_or_else(gone)?;
    let content = app.open(&mut db, &place, deployment.meta.uid, Kind::State, serial).await?;
    let content = content.ok_or_else(not_kept)?;
    drop(db);
    // No audit, no secret.
    let mut tx = app.store.begin(caller, place.scope, &RequestKey::NONE).await?;
    let event = Event::new("deployment.state_downloaded", parent, deployment.meta.uid, deployment.meta.version);
    tx.announce(event.with(json!({ "serial": serial })));
    tx.commit(&()).await?;
    Ok(Some((version, content)))
}

/// What the newest state holds, and its serial.
pub async fn resources(app: &App, caller: &Caller, parent: &DeploymentName) -> Result<(i64, Vec<ManagedResource>)> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    let mut db = app.store.read().await?;
    let deployment = desired::find(&mut db, &place, parent).await?;
    let newest = deployments::get_state(&mut db, place.scope, deployment.meta.uid, deployment.state_serial).await?;
    Ok((deployment.state_serial, newest.map(|newest| newest.resources).unwrap_or_default()))
}

/// The same as a graph.
pub async fn resource_graph(app: &App, caller: &Caller, parent: &DeploymentName, format: GraphFormat) -> Result<String> {
    Ok(graph(&resources(app, caller, parent).await?.1, format))
}

/// Takes the hold on a state, to change it by hand.
pub async fn lock(
    app: &App,
    caller: &Caller,
    parent: &DeploymentName,
    id: String,
    info: String,
    write: &Write,
) -> Result<StateLock> {
    retried!(
        change(app, caller, parent, write, "deployment.state_locked", async |tx, _, deployment| {
            let lock =
                StateLock { id: id.clone(), info: info.clone(), principal: caller.principal.clone(), create_time: tx.now() };
            deployment.lock_state(lock)?;
            deployment.state_lock.clone().ok_or_else(|| Error::internal("a lock that was taken is held"))
        })
        .await
    )
}

/// Lets go of a state.
pub async fn unlock(app: &App, caller: &Caller, parent: &DeploymentName, id: &str, write: &Write) -> Result<()> {
    retried!(
        change(app, caller, parent, write, "deployment.state_unlocked", async |_, _, deployment| {
            deployment.unlock_state(id, &caller.principal)
        })
        .await
    )
}

/// What was taken from whoever had it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Broken {
    /// The hold of a person.
    pub lock: Option<StateLock>,
    /// The run that was changing the deployment.
    pub run: Option<RunName>,
}

/// Takes the hold on a state from whoever has it, or only the one with this id: what that one still writes is refused. A run loses
/// its lease, and ends.
pub async fn break_lock(
    app: &App,
    caller: &Caller,
    parent: &DeploymentName,
    id: &str,
    reason: &str,
    write: &Write,
) -> Result<Broken> {
    retried!(break_once(app, caller, parent, id, reason, write).await)
}

async fn break_once(
    app: &App,
    caller: &Caller,
    parent: &DeploymentName,
    id: &str,
    reason: &str,
    write: &Write,
) -> Result<Broken> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut deployment = desired::find(&mut tx, &place, parent).await?;
    deployment.expect_kept()?;
    let mut broken = Broken { lock: deployment.break_state_lock(id)?, run: None };
    let mut version = deployment.meta.version;
    if broken.lock.is_some() {
        deployment.meta.touch(tx.now());
        deployments::update(&mut tx, place.scope, &deployment).await?;
        version = deployment.meta.version;
    }
    let held_by = deployment.active_run.filter(|_| id.is_empty());
    let mut ended = None;
    if let Some(run) = held_by
        && let Some(run) = runs::get(&mut tx, place.scope, run).await?
    {
        let (now, event) = (tx.now(), RunEvent::LockBroken(caller.principal.clone()));
        let run = advance_with(app, &mut tx, &place, run, Some(deployment.clone()), event, now, None).await?;
        broken.run = Some(run.name.clone());
        ended = Some(run);
        version += 1;
    }
    if broken.lock.is_some() || broken.run.is_some() {
        let whose = broken.lock.as_ref().map(|lock| lock.principal.to_string());
        let data = json!({ "reason": reason, "principal": whose, "run": broken.run.as_ref().map(ToString::to_string) });
        tx.announce(Event::new("deployment.state_lock_broken", parent, deployment.meta.uid, version).with(data));
    }
    app.finish(tx, write, &broken).await?;
    if let Some(run) = &ended {
        woken(app, run);
    }
    Ok(broken)
}

/// Writes a state by hand, under the lock with this id.
pub async fn write(
    app: &App,
    caller: &Caller,
    parent: &DeploymentName,
    lock_id: &str,
    content: Vec<u8>,
    write: &Write,
) -> Result<StateVersion> {
    retried!(
        change(app, caller, parent, write, "deployment.state_written", async |tx, place, deployment| {
            expect_terraform(tx, place, deployment).await?;
            deployment.expect_state_lock(lock_id, &caller.principal)?;
            put(app, tx, place, caller, deployment, content.clone()).await
        })
        .await
    )
}

/// Gives a state to a deployment that has none: what is in it is managed by the deployment from now on.
pub async fn import(
    app: &App,
    caller: &Caller,
    parent: &DeploymentName,
    content: Vec<u8>,
    write: &Write,
) -> Result<StateVersion> {
    retried!(
        change(app, caller, parent, write, "deployment.state_imported", async |tx, place, deployment| {
            expect_terraform(tx, place, deployment).await?;
            // The same one again: whoever imports in several steps may repeat all of them.
            let newest = deployments::get_state(tx, place.scope, deployment.meta.uid, deployment.state_serial).await?;
            if let Some(newest) = newest.filter(|newest| newest.digest == sha256(&content)) {
                return Ok(newest);
            }
            deployment.expect_importable()?;
            put(app, tx, place, caller, deployment, content.clone()).await
        })
        .await
    )
}

/// Fails unless a version of the state can be written again.
pub(crate) async fn expect_restorable(db: &mut Session, place: &Place, deployment: &Deployment, serial: i64) -> Result<()> {
    let newest = deployment.state_serial;
    if serial < 1 || serial >= newest {
        return Err(Error::field("serial", format!("an earlier version than the newest, which is {newest}")));
    }
    if !payloads::exists(db, place.scope, deployment.meta.uid, Kind::State, serial).await? {
        return Err(not_kept());
    }
    Ok(())
}

/// Writes the state that a repair goes back to as the next version, with a serial that no program has seen; answers what becomes of
/// the run.
pub(crate) async fn restore(app: &App, tx: &mut Tx, place: &Place, run: &Run) -> Result<RunEvent> {
    let uid = run.deployment;
    let version = deployments::get_state(tx, place.scope, uid, run.target_state).await?;
    let content = app.open(tx, place, uid, Kind::State, run.target_state).await?;
    let (Some(version), Some(mut content)) = (version, content) else {
        let why = format!("version {} of the state is not kept any more", run.target_state);
        return Ok(RunEvent::Refused(RunError::new("state-missing", why, "choose another version", false)));
    };
    tx.lift(Dimension::StorageBytes);
    // States of other engines have no serial of their own.
    if let Ok(state) = TerraformState::read(&content) {
        let serial = highest(app, tx, place, uid, state.serial).await? + 1;
        content = TerraformState::with_serial(&content, serial)
            .ok_or_else(|| Error::internal(format!("version {} of the state has no serial", run.target_state)))?;
        put_outputs(app, tx, place, uid, &state).await?;
    }
    let state = NewState { resources: version.resources, bytes: content };
    write_state(app, tx, place, uid, &state, &Writer::Run(run)).await?;
    Ok(RunEvent::Restored)
}

/// The highest serial that a program has given to a state that is kept, or this one.
async fn highest(app: &App, tx: &mut Tx, place: &Place, uid: Uid, serial: u64) -> Result<u64> {
    let newest = deployments::get_by_uid(tx, place.scope, uid).await?.map_or(0, |deployment| deployment.state_serial);
    let newest = app.open(tx, place, uid, Kind::State, newest).await?;
    let newest = newest.and_then(|newest| TerraformState::read(&newest).ok()).map_or(0, |newest| newest.serial);
    Ok(newest.max(serial))
}

/// Keeps the outputs of a state as those of the deployment.
async fn put_outputs(app: &App, tx: &mut Tx, place: &Place, uid: Uid, state: &TerraformState) -> Result<()> {
    let output = |output: &TerraformOutput| json!({ "value": output.value, "sensitive": output.sensitive });
    let outputs: serde_json::Map<String, Value> =
        state.outputs.iter().map(|(name, value)| (name.clone(), output(value))).collect();
    let outputs = serde_json::to_vec(&outputs).map_err(Error::internal)?;
    app.put(tx, place, uid, Kind::Outputs, 0, &outputs).await
}

fn not_kept() -> Error {
    let why = "of the states in the middle of a run only the last one is kept; choose another version";
    Error::new(Reason::StateNotAllowed, why).with("state", "not kept")
}

/// One change of a deployment in the hands of a person, with its event.
async fn change<T: Serialize + serde::de::DeserializeOwned>(
    app: &App,
    caller: &Caller,
    parent: &DeploymentName,
    write: &Write,
    event: &'static str,
    act: impl AsyncFnOnce(&mut Tx, &Place, &mut Deployment) -> Result<T>,
) -> Result<T> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut deployment = desired::find(&mut tx, &place, parent).await?;
    deployment.expect_kept()?;
    let seen = deployment.clone();
    let done = act(&mut tx, &place, &mut deployment).await?;
    if deployment != seen {
        deployment.meta.touch(tx.now());
        deployments::update(&mut tx, place.scope, &deployment).await?;
        tx.announce(Event::new(event, parent, deployment.meta.uid, deployment.meta.version));
    }
    app.finish(tx, write, &done).await?;
    Ok(done)
}

async fn expect_terraform(db: &mut Session, place: &Place, deployment: &Deployment) -> Result<()> {
    let version = blueprint_versions::get(db, place.scope, &deployment.blueprint_version).await?;
    let engine = version.map(|version| version.engine).unwrap_or_default();
    if engine == TERRAFORM {
        return Ok(());
    }
    Err(Error::new(
        Reason::StateNotAllowed,
        format!("states of the engine `{engine}` are its own; only those of terraform are given and taken"),
    )
    .with("state", engine))
}

/// Checks a state of Terraform against the one before it, and writes it.
async fn put(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    caller: &Caller,
    deployment: &mut Deployment,
    content: Vec<u8>,
) -> Result<StateVersion> {
    let state = TerraformState::read(&content).map_err(|why| Error::field("content", why))?;
    let newest = deployments::get_state(tx, place.scope, deployment.meta.uid, deployment.state_serial).await?;
    // The answer to the first try was lost on its way.
    if let Some(newest) = newest.filter(|newest| newest.digest == sha256(&content)) {
        return Ok(newest);
    }
    if let Some(before) = app.open(tx, place, deployment.meta.uid, Kind::State, deployment.state_serial).await? {
        let before = TerraformState::read(&before).map_err(Error::internal)?;
        let refused = |why: String| Error::new(Reason::StateNotAllowed, why).with("state", "diverged");
        if before.lineage != state.lineage {
            let why = format!(
                "the state has the lineage `{}`, and the one before it `{}`: it is of something else",
                state.lineage, before.lineage
            );
            return Err(refused(why));
        }
        if state.serial <= before.serial {
            let why = format!("the state has the serial {}, and the one before it {}", state.serial, before.serial);
            return Err(refused(why + ": each one that is written has a higher one; read the state again and repeat the change"));
        }
    }
    let new = NewState { resources: state.managed(), bytes: content };
    let uid = deployment.meta.uid;
    let version = insert(app, tx, place, deployment, &new, &Writer::Person(&caller.principal), state.lineage.clone()).await?;
    put_outputs(app, tx, place, uid, &state).await?;
    deployment.state_serial = version.serial;
    // Whether it is what the blueprint says, the next plan tells.
    let unknown = deployment.state == DeploymentState::Quarantined;
    let nothing = matches!(deployment.state, DeploymentState::New | DeploymentState::Destroyed);
    if unknown || nothing && !version.resources.is_empty() {
        deployment.state = DeploymentState::Partial;
    }
    Ok(version)
}

/// Writes the next state version of a run. Of one run only the newest content is kept; the versions all are.
pub(crate) async fn write_state(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    uid: Uid,
    state: &NewState,
    writer: &Writer<'_>,
) -> Result<()> {
    let deployment = deployments::get_by_uid(tx, place.scope, uid).await?;
    let mut deployment = deployment.ok_or_else(|| Error::internal(format!("the deployment {uid} is gone")))?;
    let before = deployments::get_state(tx, place.scope, uid, deployment.state_serial).await?;
    if before.as_ref().is_some_and(|before| before.digest == sha256(&state.bytes)) {
        return Ok(());
    }
    let lineage = TerraformState::read(&state.bytes).map_or_else(|_| uid.to_string(), |state| state.lineage);
    let version = insert(app, tx, place, &deployment, state, writer, lineage).await?;
    let of_same_run = |before: &StateVersion| before.run.is_some() && before.run == version.run;
    if let Some(before) = before.filter(of_same_run) {
        payloads::delete(tx, place.scope, uid, Kind::State, before.serial).await?;
    }
    deployment.state_serial = version.serial;
    deployment.meta.touch(tx.now());
    deployments::update(tx, place.scope, &deployment).await
}

async fn insert(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    deployment: &Deployment,
    state: &NewState,
    writer: &Writer<'_>,
    lineage: String,
) -> Result<StateVersion> {
    // What is real already is kept whatever the quota says.
    tx.lift(Dimension::StorageBytes);
    let (run, epoch, creator) = match writer {
        Writer::Run(run) => (Some(run.uid()), run.epoch, None),
        Writer::Person(principal) => (None, 0, Some((*principal).clone())),
    };
    let version = StateVersion {
        serial: deployment.state_serial + 1,
        lineage,
        digest: sha256(&state.bytes),
        size_bytes: i64::try_from(state.bytes.len()).unwrap_or(i64::MAX),
        run,
        creator,
        epoch,
        resources: state.resources.clone(),
        create_time: tx.now(),
    };
    deployments::insert_state(tx, place.scope, deployment.meta.uid, &version).await?;
    let engine = match writer {
        Writer::Run(run) => &run.engine,
        Writer::Person(_) => TERRAFORM,
    };
    let mut counts = managed_resources::Counts::new();
    for resource in &version.resources {
        *counts.entry((engine.to_owned(), resource.type_group().to_owned())).or_default() += 1;
    }
    managed_resources::replace(tx, place.scope, deployment.meta.uid, &counts).await?;
    app.put(tx, place, deployment.meta.uid, Kind::State, version.serial, &state.bytes).await?;
    Ok(version)
}
