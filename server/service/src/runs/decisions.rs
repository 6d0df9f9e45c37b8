//! What people say about a run: decisions on its plan, and that it is to stop.

use freehold_domain::{
    Error, Reason, Result,
    access::Caller,
    events::Event,
    names::RunName,
    runs::{Decision, Run, RunEvent, RunKind},
};
use freehold_store::runs;
use serde_json::{Value, json};

use super::{advance, deployment_of, find, woken};
use crate::{
    app::{App, Write},
    approvals,
};

/// What somebody decides about a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is right.
    Approve,
    /// It is applied where nobody has to approve it.
    Apply,
    /// It is wrong.
    Reject,
}

/// What somebody has reviewed, and says of it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Review {
    pub plan_digest: String,
    /// `None` when the reviewer does not say it.
    pub review_digest: Option<String>,
    pub comment: String,
}

/// Decides about the plan with a digest.
pub async fn decide(app: &App, caller: &Caller, name: &RunName, verdict: Verdict, review: Review, write: &Write) -> Result<Run> {
    let Review { plan_digest, review_digest, comment } = review;
    let (by, channel) = (caller.principal.clone(), caller.proof.to_string());
    let decision = Decision { by, plan_digest, review_digest, comment, channel, standing: None };
    let event = match verdict {
        Verdict::Approve => RunEvent::Approved(decision),
        Verdict::Apply => RunEvent::Confirmed(decision),
        Verdict::Reject => RunEvent::Rejected(decision),
    };
    change(app, caller, name, event, write).await
}

/// Takes the caller's own approval back.
pub async fn withdraw(app: &App, caller: &Caller, name: &RunName, write: &Write) -> Result<Run> {
    change(app, caller, name, RunEvent::Withdrawn(caller.principal.clone()), write).await
}

/// Asks a run to stop.
pub async fn cancel(app: &App, caller: &Caller, name: &RunName, write: &Write) -> Result<Run> {
    change(app, caller, name, RunEvent::CancelRequested, write).await
}

async fn change(app: &App, caller: &Caller, name: &RunName, mut event: RunEvent, write: &Write) -> Result<Run> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut run = find(&mut tx, &place, name).await?;
    if let Some(etag) = write.etag.as_deref()
        && etag != run.etag()
    {
        return Err(Error::new(Reason::EtagMismatch, "the run has moved since you read it; read it again")
            .with("current_etag", run.etag()));
    }
    let now = tx.now();
    if matches!(event, RunEvent::Approved(_) | RunEvent::Confirmed(_) | RunEvent::Withdrawn(_)) {
        let deployment = deployment_of(&mut tx, &place, &run).await?;
        run = approvals::under(app, &mut tx, &place, run, &deployment, now).await?;
        if let RunEvent::Approved(decision) | RunEvent::Confirmed(decision) = &mut event {
            decision.standing = approvals::standing(app, &mut tx, &place, &caller.principal).await?;
            if run.kind == RunKind::Destroy {
                deployment.expect_unprotected()?;
            }
        }
    }
    let lease = runs::lease_until(&mut tx, place.scope, run.uid()).await?;
    let (seen, told) = (run.version, said(&event));
    let run = advance(app, &mut tx, &place, run, event, now, lease).await?;
    // What is said twice changes nothing.
    if let Some((kind, mut facts)) = told.filter(|_| run.version != seen) {
        facts["kind"] = run.kind.as_str().into();
        facts["deployment"] = run.name.deployment_name().to_string().into();
        tx.announce(Event::new(kind, &run.name, run.uid(), run.version).with(facts));
    }
    app.finish(tx, write, &run).await?;
    woken(app, &run);
    Ok(run)
}

/// The event of what somebody says about a run, whether or not it moves for that.
fn said(event: &RunEvent) -> Option<(&'static str, Value)> {
    let decided = |by: &Decision| json!({ "plan_digest": by.plan_digest, "channel": by.channel });
    match event {
        RunEvent::Approved(by) | RunEvent::Confirmed(by) => Some(("run.approved", decided(by))),
        RunEvent::Rejected(by) => Some(("run.rejected", decided(by))),
        RunEvent::Withdrawn(_) => Some(("run.approval_withdrawn", json!({}))),
        RunEvent::CancelRequested => Some(("run.cancel_requested", json!({}))),
        _ => None,
    }
}
