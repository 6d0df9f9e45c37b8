//! RunService.

use std::{pin::Pin, sync::Arc, time::Duration};

use freehold_domain::{
    Result,
    access::Caller,
    names::{DeploymentName, RunName},
    runs::{ChangeAction, Run, RunError, RunKind, RunOutcome, RunPhase, StepState, WaitingReason},
};
use freehold_proto::deployments::v1 as pb;
use freehold_service::{
    App, explain, identify,
    runs::{self, Review, StartRun, Verdict},
    teardown::{self, DestroyEnvironment},
};
use futures::{Stream, stream};
use prost::Message as _;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{Wire, approvals, dependencies, explanation, late_results, log, parse, render, write};
use crate::status;

/// How long a call waits for a change before it says "not yet".
const WAIT: Duration = Duration::from_secs(60);
/// A stream says that it lives at least this often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl pb::run_service_server::RunService for Wire {
    async fn plan_deployment(
        &self,
        request: Request<pb::PlanDeploymentRequest>,
    ) -> Result<Response<pb::PlanDeploymentResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let kind = if body.speculative { RunKind::Plan } else { RunKind::Apply };
            let (write, cmd) = parse::both(
                write(&body, &body.request_id, false, ""),
                start(&body.name, kind, 0, body.auto_apply, body.keep_queued, body.message),
            )?;
            let run = runs::start(&self.app, &caller, cmd, &write).await?;
            Ok(pb::PlanDeploymentResponse { run: Some(message(&run)) })
        })
        .await
    }

    async fn destroy_deployment(
        &self,
        request: Request<pb::DestroyDeploymentRequest>,
    ) -> Result<Response<pb::DestroyDeploymentResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(
                write(&body, &body.request_id, false, ""),
                start(&body.name, RunKind::Destroy, 0, body.auto_apply, body.keep_queued, body.message),
            )?;
            let run = runs::start(&self.app, &caller, cmd, &write).await?;
            Ok(pb::DestroyDeploymentResponse { run: Some(message(&run)) })
        })
        .await
    }

    async fn destroy_environment(
        &self,
        request: Request<pb::DestroyEnvironmentRequest>,
    ) -> Result<Response<pb::DestroyEnvironmentResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, false, "");
            let mut fields = parse::Fields::new();
            let name = fields.text("name", &body.name);
            let message = fields.prose("message", body.message, 500);
            let cmd = fields.finish(|| Some(DestroyEnvironment { name: name?, auto_apply: body.auto_apply, message }));
            let (write, cmd) = parse::both(write, cmd)?;
            let runs = teardown::destroy(&self.app, &caller, cmd, &write).await?;
            Ok(pb::DestroyEnvironmentResponse { runs: runs.iter().map(self::message).collect() })
        })
        .await
    }

    async fn rollback_deployment(
        &self,
        request: Request<pb::RollbackDeploymentRequest>,
    ) -> Result<Response<pb::RollbackDeploymentResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(
                write(&body, &body.request_id, false, ""),
                start(&body.name, RunKind::Rollback, body.revision, body.auto_apply, body.keep_queued, body.message),
            )?;
            let run = runs::start(&self.app, &caller, cmd, &write).await?;
            Ok(pb::RollbackDeploymentResponse { run: Some(message(&run)) })
        })
        .await
    }

    async fn detect_drift(&self, request: Request<pb::DetectDriftRequest>) -> Result<Response<pb::DetectDriftResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(
                write(&body, &body.request_id, false, ""),
                start(&body.name, RunKind::Drift, 0, false, false, String::new()),
            )?;
            let run = runs::start(&self.app, &caller, cmd, &write).await?;
            Ok(pb::DetectDriftResponse { run: Some(message(&run)) })
        })
        .await
    }

    async fn approve_run(&self, request: Request<pb::ApproveRunRequest>) -> Result<Response<pb::ApproveRunResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, (name, review)) = parse::both(
                write(&body, &body.request_id, false, &body.etag),
                review(&body.name, body.plan_digest, &body.review_digest, body.comment),
            )?;
            let run = runs::decide(&self.app, &caller, &name, Verdict::Approve, review, &write).await?;
            Ok(pb::ApproveRunResponse { run: Some(message(&run)) })
        })
        .await
    }

    async fn apply_run(&self, request: Request<pb::ApplyRunRequest>) -> Result<Response<pb::ApplyRunResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, (name, review)) = parse::both(
                write(&body, &body.request_id, false, &body.etag),
                review(&body.name, body.plan_digest, "", String::new()),
            )?;
            let run = runs::decide(&self.app, &caller, &name, Verdict::Apply, review, &write).await?;
            Ok(pb::ApplyRunResponse { run: Some(message(&run)) })
        })
        .await
    }

    async fn reject_run(&self, request: Request<pb::RejectRunRequest>) -> Result<Response<pb::RejectRunResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, (name, review)) = parse::both(
                write(&body, &body.request_id, false, &body.etag),
                review(&body.name, body.plan_digest, "", body.comment),
            )?;
            let run = runs::decide(&self.app, &caller, &name, Verdict::Reject, review, &write).await?;
            Ok(pb::RejectRunResponse { run: Some(message(&run)) })
        })
        .await
    }

    async fn withdraw_approval(
        &self,
        request: Request<pb::WithdrawApprovalRequest>,
    ) -> Result<Response<pb::WithdrawApprovalResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, &body.etag), parse::name("name", &body.name))?;
            let run = runs::withdraw(&self.app, &caller, &name, &write).await?;
            Ok(pb::WithdrawApprovalResponse { run: Some(message(&run)) })
        })
        .await
    }

    async fn cancel_run(&self, request: Request<pb::CancelRunRequest>) -> Result<Response<pb::CancelRunResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, ""), parse::name("name", &body.name))?;
            let run = runs::cancel(&self.app, &caller, &name, &write).await?;
            Ok(pb::CancelRunResponse { run: Some(message(&run)) })
        })
        .await
    }

    async fn get_run(&self, request: Request<pb::GetRunRequest>) -> Result<Response<pb::GetRunResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let run = runs::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetRunResponse { run: Some(message(&run)) })
        })
        .await
    }

    async fn explain_run(&self, request: Request<pb::ExplainRunRequest>) -> Result<Response<pb::ExplainRunResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (run, why) = explain::explain(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::ExplainRunResponse { run_explanation: Some(explanation::message(&run, why)) })
        })
        .await
    }

    async fn list_runs(&self, request: Request<pb::ListRunsRequest>) -> Result<Response<pb::ListRunsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("runs|{}|{}", body.parent, body.newest_first);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<DeploymentName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, body.newest_first, &list)?;
            let listed = runs::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListRunsResponse {
                runs: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn wait_run(&self, request: Request<pb::WaitRunRequest>) -> Result<Response<pb::WaitRunResponse>, Status> {
        let end = super::wait_end(&request, WAIT);
        self.serve(request, |caller, body| async move {
            let mut fields = parse::Fields::new();
            let name = fields.text("name", &body.name);
            let mut phases = Vec::new();
            for (index, number) in body.while_in.iter().enumerate() {
                match phase(*number) {
                    Some(phase) => phases.push(phase),
                    None => fields.wrong(&format!("while_in[{index}]"), "not a phase of a run"),
                }
            }
            let run = runs::wait(&self.app, &caller, &fields.finish(|| name)?, &phases, end).await?;
            Ok(pb::WaitRunResponse { run: Some(message(&run)) })
        })
        .await
    }

    type WatchRunStream = Answers<pb::WatchRunResponse>;

    async fn watch_run(&self, request: Request<pb::WatchRunRequest>) -> Result<Response<Self::WatchRunStream>, Status> {
        self.serve(request, |caller, body| async move {
            let name: RunName = parse::name("name", &body.name)?;
            runs::get(&self.app, &caller, &name).await?;
            Ok(watch(Arc::clone(&self.app), caller, name))
        })
        .await
    }

    async fn get_run_plan(&self, request: Request<pb::GetRunPlanRequest>) -> Result<Response<pb::GetRunPlanResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (run, summary) = runs::plan_summary(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            let mut plan = pb::RunPlan::decode(summary.as_slice()).map_err(freehold_domain::Error::internal)?;
            if let Some(facts) = &run.plan {
                plan.digest.clone_from(&facts.digest);
                plan.base_serial = facts.base_serial;
            }
            plan.dependencies = run.dependencies.iter().map(dependencies::of_run).collect();
            Ok(pb::GetRunPlanResponse { run_plan: Some(plan) })
        })
        .await
    }

    type TailRunLogsStream = Answers<pb::TailRunLogsResponse>;

    async fn tail_run_logs(&self, request: Request<pb::TailRunLogsRequest>) -> Result<Response<Self::TailRunLogsStream>, Status> {
        self.serve(request, |caller, body| async move {
            let mut fields = parse::Fields::new();
            let name = fields.text::<RunName>("name", &body.name);
            if body.offset < 0 {
                fields.wrong("offset", "0 or more");
            }
            let name = fields.finish(|| name)?;
            runs::get(&self.app, &caller, &name).await?;
            Ok(tail(Arc::clone(&self.app), caller, name, body.offset, body.follow))
        })
        .await
    }

    type DownloadLateResultStream = late_results::Pieces;

    async fn download_late_result(
        &self,
        request: Request<pb::DownloadLateResultRequest>,
    ) -> Result<Response<Self::DownloadLateResultStream>, Status> {
        self.serve(request, |caller, body| async move { self.download_late(&caller, &body).await }).await
    }
}

/// The run now, after every change, and from time to time as a sign of life; ends after its end.
fn watch(app: Arc<App>, caller: Arc<Caller>, name: RunName) -> Answers<pb::WatchRunResponse> {
    Box::pin(stream::try_unfold(Some(0), move |seen| {
        let (app, caller, name) = (Arc::clone(&app), caller.clone(), name.clone());
        async move {
            let Some(seen) = seen else { return Ok(None) };
            let answer = async {
                let caller = identify::again(&app, &caller).await?;
                match runs::next(&app, &caller, &name, seen, Instant::now() + SIGN_OF_LIFE).await? {
                    Some(run) => Ok(run),
                    None => runs::get(&app, &caller, &name).await,
                }
            };
            let run = answer.await.map_err(|error| status::render(&error, &caller.call.request_id))?;
            let next = (!run.is_done()).then_some(run.version);
            Ok(Some((pb::WatchRunResponse { run: Some(message(&run)) }, next)))
        }
    }))
}

fn tail(app: Arc<App>, caller: Arc<Caller>, name: RunName, offset: i64, follow: bool) -> Answers<pb::TailRunLogsResponse> {
    Box::pin(stream::try_unfold(Some(offset), move |from| {
        let (app, caller, name) = (Arc::clone(&app), caller.clone(), name.clone());
        async move {
            let Some(from) = from else { return Ok(None) };
            let answer = async {
                let caller = identify::again(&app, &caller).await?;
                runs::log(&app, &caller, &name, from, follow, Instant::now() + SIGN_OF_LIFE).await
            };
            let (lines, next, more) = answer.await.map_err(|error| status::render(&error, &caller.call.request_id))?;
            let answer = pb::TailRunLogsResponse { lines: lines.iter().map(log::message).collect(), next_offset: next };
            Ok(Some((answer, more.then_some(next))))
        }
    }))
}

/// A run to start; the target is the revision of a rollback, and the version of the state of a repair.
pub(super) fn start(
    name: &str,
    kind: RunKind,
    target: i64,
    auto_apply: bool,
    keep_queued: bool,
    message: String,
) -> Result<StartRun> {
    let mut fields = parse::Fields::new();
    let name = fields.text("name", name);
    let message = fields.prose("message", message, 500);
    fields.finish(|| Some(StartRun { name: name?, kind, target, auto_apply, keep_queued, message }))
}

fn review(name: &str, plan_digest: String, review_digest: &str, comment: String) -> Result<(RunName, Review)> {
    let mut fields = parse::Fields::new();
    let name = fields.text("name", name);
    if plan_digest.is_empty() {
        fields.wrong("plan_digest", "required: the digest of the plan that was reviewed");
    }
    let comment = fields.prose("comment", comment, 500);
    let review_digest = Some(review_digest.to_owned()).filter(|digest| !digest.is_empty());
    fields.finish(|| Some((name?, Review { plan_digest, review_digest, comment })))
}

const PHASES: [(RunPhase, pb::RunPhase); 11] = [
    (RunPhase::Pending, pb::RunPhase::Pending),
    (RunPhase::Queued, pb::RunPhase::Queued),
    (RunPhase::Preparing, pb::RunPhase::Preparing),
    (RunPhase::Planning, pb::RunPhase::Planning),
    (RunPhase::Checking, pb::RunPhase::Checking),
    (RunPhase::AwaitingApproval, pb::RunPhase::AwaitingApproval),
    (RunPhase::ApplyQueued, pb::RunPhase::ApplyQueued),
    (RunPhase::Applying, pb::RunPhase::Applying),
    (RunPhase::Verifying, pb::RunPhase::Verifying),
    (RunPhase::Recovering, pb::RunPhase::Recovering),
    (RunPhase::Done, pb::RunPhase::Done),
];

fn phase(number: i32) -> Option<RunPhase> {
    PHASES.iter().find(|(_, message)| i32::from(*message) == number).map(|(phase, _)| *phase)
}

/// A run as the contract shows it.
pub(super) fn message(run: &Run) -> pb::Run {
    let kind = match run.kind {
        RunKind::Plan => pb::RunKind::Plan,
        RunKind::Apply => pb::RunKind::Apply,
        RunKind::Destroy => pb::RunKind::Destroy,
        RunKind::Rollback => pb::RunKind::Rollback,
        RunKind::Drift => pb::RunKind::Drift,
        RunKind::Repair => pb::RunKind::Repair,
    };
    let phase = PHASES.iter().find(|(phase, _)| *phase == run.phase).map_or(pb::RunPhase::Unspecified, |(_, message)| *message);
    let outcome = match run.outcome {
        None => pb::RunOutcome::Unspecified,
        Some(RunOutcome::Succeeded) => pb::RunOutcome::Succeeded,
        Some(RunOutcome::NoChanges) => pb::RunOutcome::NoChanges,
        Some(RunOutcome::Rejected) => pb::RunOutcome::Rejected,
        Some(RunOutcome::QuotaBlocked) => pb::RunOutcome::QuotaBlocked,
        Some(RunOutcome::Expired) => pb::RunOutcome::Expired,
        Some(RunOutcome::Cancelled) => pb::RunOutcome::Cancelled,
        Some(RunOutcome::Superseded) => pb::RunOutcome::Superseded,
        Some(RunOutcome::Stale) => pb::RunOutcome::Stale,
        Some(RunOutcome::Failed) => pb::RunOutcome::Failed,
        Some(RunOutcome::Lost) => pb::RunOutcome::Lost,
    };
    pb::Run {
        name: run.name.to_string(),
        uid: run.uid().to_string(),
        etag: run.etag(),
        kind: kind.into(),
        phase: phase.into(),
        outcome: outcome.into(),
        waiting_on: run.waiting_on.as_ref().map(waiting_on),
        blueprint_version: run.blueprint_version.to_string(),
        target_revision: run.target_revision,
        target_state_serial: run.target_state,
        auto_apply: run.auto_apply,
        plan_digest: run.plan.as_ref().map(|plan| plan.digest.clone()).unwrap_or_default(),
        plan_summary: run.plan.as_ref().map(|plan| pb::PlanSummary {
            create: plan.create,
            update: plan.update,
            replace: plan.replace,
            delete: plan.delete,
            unchanged: plan.unchanged,
            drifted: plan.drifted,
            reversible: plan.reversibility.reversible,
            reversible_with_data_loss: plan.reversibility.data_loss,
            irreversible: plan.reversibility.irreversible,
            unknown_reversibility: plan.reversibility.unknown,
        }),
        approval_required: run.demand.needs_approval(),
        approval: run.approval.as_ref().map(|approval| approvals::approval(run, approval)),
        error: run.error.as_ref().map(error_message),
        epoch: run.epoch,
        runner: run.runner.as_ref().map(ToString::to_string).unwrap_or_default(),
        attempt: run.attempt,
        steps: run.steps.iter().map(|(address, step)| step_message(address, step)).collect(),
        cancel_requested: run.cancel_requested,
        changed: run.changed,
        create_time: Some(render::time(run.create_time)),
        update_time: Some(render::time(run.update_time)),
        end_time: run.end_time.map(render::time),
        deadline: run.deadline.map(render::time),
        create_principal: run.creator.to_string(),
        message: run.message.clone(),
        dependencies: run.dependencies.iter().map(dependencies::of_run).collect(),
        sandbox: run.sandbox.clone(),
        approval_demand: Some(approvals::demand(run)),
        approvals: run.approvals.iter().map(|approval| approvals::approval(run, approval)).collect(),
        review_digest: run.review_digest(),
        late_results: run.late_results.iter().map(late_results::message).collect(),
        drift_check: run.drift_check().map(|(state, reason)| pb::DriftCheck { state: super::drift::state(state).into(), reason }),
    }
}

/// What went wrong, as the contract shows it.
pub(super) fn error_message(error: &RunError) -> pb::RunError {
    pb::RunError {
        code: error.code.clone(),
        message: error.message.clone(),
        address: error.address.clone(),
        hint: error.hint.clone(),
        retryable: error.retryable,
    }
}

pub(super) fn waiting_on(on: &freehold_domain::runs::WaitingOn) -> pb::WaitingOn {
    let reason = match on.reason {
        WaitingReason::Runner => pb::WaitingReason::Runner,
        WaitingReason::Approval => pb::WaitingReason::Approval,
        WaitingReason::Lock => pb::WaitingReason::Lock,
        WaitingReason::Quota => pb::WaitingReason::Quota,
        WaitingReason::Lease => pb::WaitingReason::Lease,
        WaitingReason::Dependency => pb::WaitingReason::Dependency,
        WaitingReason::RunnersAbsent => pb::WaitingReason::RunnersAbsent,
        WaitingReason::RunnersBusy => pb::WaitingReason::RunnersBusy,
        WaitingReason::RunnersDraining => pb::WaitingReason::RunnersDraining,
        WaitingReason::EngineMissing => pb::WaitingReason::EngineMissing,
        WaitingReason::TenantSuspended => pb::WaitingReason::TenantSuspended,
        WaitingReason::Protection => pb::WaitingReason::Protection,
        WaitingReason::Recovery => pb::WaitingReason::Recovery,
    };
    pb::WaitingOn {
        reason: reason.into(),
        detail: on.detail.clone(),
        resource: on.resource.clone(),
        since: Some(render::time(on.since)),
    }
}

fn step_message(address: &str, step: &freehold_domain::runs::RunStep) -> pb::RunStep {
    let action = match step.action {
        ChangeAction::Create => pb::ChangeAction::Create,
        ChangeAction::Update => pb::ChangeAction::Update,
        ChangeAction::Replace => pb::ChangeAction::Replace,
        ChangeAction::Delete => pb::ChangeAction::Delete,
        ChangeAction::Noop => pb::ChangeAction::Noop,
    };
    let state = match step.state {
        StepState::Pending => pb::StepState::Pending,
        StepState::Started => pb::StepState::Started,
        StepState::Done => pb::StepState::Done,
        StepState::Failed => pb::StepState::Failed,
        StepState::Unknown => pb::StepState::Unknown,
        StepState::Skipped => pb::StepState::Skipped,
    };
    pb::RunStep {
        address: address.to_owned(),
        action: action.into(),
        state: state.into(),
        error: step.error.clone(),
        start_time: step.start_time.map(render::time),
        end_time: step.end_time.map(render::time),
    }
}
