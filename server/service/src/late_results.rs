//! What runners came to with applies that they had lost: kept with the run, sealed, and read by whoever may read states.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_domain::{
    Error, Result,
    access::Caller,
    events::Event,
    names::{RunName, RunnerName},
    quotas::Dimension,
    runs::{LateResult, RunError, RunEvent, unrecorded},
};
use freehold_store::{RequestKey, deployments, payloads::Kind, runs};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    app::App,
    approvals::sha256,
    jobs::place_of,
    runs::{advance, deployment_of, find},
    state::NewState,
};

/// What a runner offers.
pub struct Offer {
    /// It changed something real.
    pub changed: bool,
    /// It was stopped before its end.
    pub cancelled: bool,
    /// Why it did not reach its end.
    pub error: Option<RunError>,
    /// Resources whose fate could not be found out.
    pub unknown: Vec<String>,
    /// The last state.
    pub state: NewState,
    /// Lines of log that were not taken, as they are kept.
    pub lines: Vec<Value>,
}

/// What is kept sealed of one offer.
#[derive(Serialize, Deserialize)]
struct Content {
    /// The state, in base64.
    state: String,
    lines: Vec<Value>,
}

/// Keeps what a runner offers of an apply that it has lost, or, without an offer, only finds out whether it would be kept; answers
/// whether the run has ended.
///
/// Fails with `RESOURCE_NOT_FOUND` for everybody who was not given the apply under this fence, with `STATE_NOT_ALLOWED` while the run
/// is still with this runner, and when another state was offered under the fence before.
pub async fn offer(
    app: &App,
    caller: &Caller,
    runner: &RunnerName,
    name: &RunName,
    epoch: i64,
    offer: Option<Offer>,
) -> Result<bool> {
    let place = place_of(app, name).await?;
    let mut tx = app.store.begin(caller, place.scope, &RequestKey::NONE).await?;
    let run = find(&mut tx, &place, name).await?;
    run.expect_late(runner, epoch)?;
    let Some(Offer { changed, cancelled, error, unknown, state, lines }) = offer else {
        tx.confirm().await?;
        return Ok(run.is_done());
    };
    let deployment = deployment_of(&mut tx, &place, &run).await?;
    let newest = deployments::get_state(&mut tx, place.scope, deployment.meta.uid, deployment.state_serial).await?;
    let unrecorded = unrecorded(state.resources, &newest.map(|newest| newest.resources).unwrap_or_default());
    let (now, lease) = (tx.now(), runs::lease_until(&mut tx, place.scope, run.uid()).await?);
    let late = LateResult {
        epoch,
        runner: runner.clone(),
        digest: sha256(&state.bytes),
        size_bytes: i64::try_from(state.bytes.len()).unwrap_or(i64::MAX),
        changed,
        cancelled,
        error,
        unrecorded_count: i32::try_from(unrecorded.len()).unwrap_or(i32::MAX),
        unrecorded,
        unknown,
        create_time: now,
    };
    let facts = json!({ "epoch": epoch, "digest": late.digest, "unrecorded": late.unrecorded_count });
    let seen = run.version;
    let run = advance(app, &mut tx, &place, run, RunEvent::LateResult(late), now, lease).await?;
    if run.version == seen {
        tx.confirm().await?;
        return Ok(run.is_done());
    }
    // What is real already is kept whatever the quota says.
    tx.lift(Dimension::StorageBytes);
    let content = Content { state: STANDARD.encode(&state.bytes), lines };
    let content = serde_json::to_vec(&content).map_err(Error::internal)?;
    app.put(&mut tx, &place, run.uid(), Kind::LateResult, epoch, &content).await?;
    tx.announce(Event::new("run.late_result_offered", &run.name, run.uid(), run.version).with(facts));
    tx.commit(&()).await?;
    app.wakeups.wake(run.uid());
    Ok(run.is_done())
}

/// What was offered under one fence.
pub struct Offered {
    /// What is told of it.
    pub late_result: LateResult,
    /// The state; holds secrets.
    pub state: Vec<u8>,
    /// Lines of log, as they are kept.
    pub lines: Vec<Value>,
}

/// Returns what was offered under a fence, or last for fence 0; nothing when nothing was offered yet. It holds secrets, so that is
/// audited.
pub async fn download(app: &App, caller: &Caller, name: &RunName, epoch: i64) -> Result<Option<Offered>> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut db = app.store.read().await?;
    let run = find(&mut db, &place, name).await?;
    let late = match epoch {
        0 => run.late_results.last(),
        epoch => run.late_results.iter().find(|late| late.epoch == epoch),
    };
    let Some(late) = late.cloned() else {
        return if epoch == 0 { Ok(None) } else { Err(Error::not_found(format!("the late result {epoch} of {name}"))) };
    };
    let content = app.open(&mut db, &place, run.uid(), Kind::LateResult, late.epoch).await?;
    let content = content.ok_or_else(|| Error::internal(format!("the late result {} of {name} is gone", late.epoch)))?;
    drop(db);
    let content: Content = serde_json::from_slice(&content).map_err(Error::internal)?;
    let state = STANDARD.decode(content.state).map_err(Error::internal)?;
    // No audit, no secret.
    let mut tx = app.store.begin(caller, place.scope, &RequestKey::NONE).await?;
    let event = Event::new("run.late_result_downloaded", name, run.uid(), run.version);
    tx.announce(event.with(json!({ "epoch": late.epoch })));
    tx.commit(&()).await?;
    Ok(Some(Offered { late_result: late, state, lines: content.lines }))
}
