//! RunnerService: what a runner says and asks.

use std::{collections::BTreeMap, time::Duration};

use freehold_domain::{
    Error, Reason, Result,
    access::{Caller, Principal},
    approvals::Reviewed,
    deployments::ManagedResource,
    drift::{Drifted, Findings, Values},
    names::{RunName, RunnerName},
    runners::HEARTBEAT,
    runs::{ApplyEnd, Ask, ChangeAction, PlanBinding, PlanFacts, PlannedChange, Reversibility, RunError, RunKind, RunPhase},
    time::Timestamp,
};
use freehold_proto::{
    deployments::v1::{
        AttributeChange, ChangeAction as ActionMessage, ManagedResource as ResourceMessage, PlanBinding as BindingMessage,
        ResourceChange, Reversibility as ReversibilityMessage, RunError as RunErrorMessage,
    },
    runners::v1 as pb,
};
use freehold_service::{
    claims::{Job, Work, acquire},
    jobs::{self, Ended, Entry, Report},
    registration,
    runners::{self, Description},
    state::NewState,
};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{Wire, log, parse, render};
use crate::layers::shield::HungUp;

/// How long an ask for work waits.
const WAIT: Duration = Duration::from_secs(30);
/// Lines of log in one call, at most.
pub(super) const LINES: usize = 1000;
/// Steps in one call, at most.
const ENTRIES: usize = 1000;

/// Bytes of each text that a runner describes itself by, and of such texts in a list, at most.
const WORD: usize = 256;
const WORDS: usize = 64;

#[tonic::async_trait]
impl pb::runner_service_server::RunnerService for Wire {
    async fn register_runner(
        &self,
        request: Request<pb::RegisterRunnerRequest>,
    ) -> Result<Response<pb::RegisterRunnerResponse>, Status> {
        self.register(request).await
    }

    async fn renew_certificate(
        &self,
        request: Request<pb::RenewCertificateRequest>,
    ) -> Result<Response<pb::RenewCertificateResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let name = runner(&caller, &self.app)?;
            let certificate = registration::renew(&self.app, &caller, &name, body.certificate_request).await?;
            let expire_time = Some(render::time(certificate.expire_time));
            Ok(pb::RenewCertificateResponse { certificate: certificate.pem, expire_time })
        })
        .await
    }

    async fn heartbeat(&self, request: Request<pb::HeartbeatRequest>) -> Result<Response<pb::HeartbeatResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let runner = runner(&caller, &self.app)?;
            let drain = runners::heartbeat(&self.app, &runner, description(body)?).await?;
            Ok(pb::HeartbeatResponse { drain, interval: Some(duration(HEARTBEAT)) })
        })
        .await
    }

    async fn acquire_job(&self, request: Request<pb::AcquireJobRequest>) -> Result<Response<pb::AcquireJobResponse>, Status> {
        let end = super::wait_end(&request, WAIT);
        let hung_up = request.extensions().get::<HungUp>().cloned();
        self.serve(request, |caller, body| async move {
            let runner = runner(&caller, &self.app)?;
            let mut fields = parse::Fields::new();
            let (uid, incarnation) =
                (fields.text("request_id", &body.request_id), fields.text("incarnation_id", &body.incarnation_id));
            let ask = fields.finish(|| Some(Ask { uid: uid?, incarnation: incarnation? }))?;
            // A job must not be given to a runner that has hung up: nobody would do it for as long as its lease lasts.
            let job = tokio::select! {
                job = acquire(&self.app, &runner, &body.engines, ask, end) => job?,
                () = gone(hung_up) => None,
            };
            Ok(pb::AcquireJobResponse { job: job.map(job_message).transpose()? })
        })
        .await
    }

    async fn extend_lease(&self, request: Request<pb::ExtendLeaseRequest>) -> Result<Response<pb::ExtendLeaseResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (runner, run) = lease(&caller, &self.app, &body.run)?;
            let cancel_requested = jobs::extend(&self.app, &runner, &run, body.epoch).await?;
            Ok(pb::ExtendLeaseResponse { cancel_requested })
        })
        .await
    }

    async fn append_job_logs(
        &self,
        request: Request<pb::AppendJobLogsRequest>,
    ) -> Result<Response<pb::AppendJobLogsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (runner, run) = lease(&caller, &self.app, &body.run)?;
            if body.lines.len() > LINES {
                return Err(Error::field("lines", format!("at most {LINES} lines in one call")));
            }
            let lines = body.lines.into_iter().map(log::kept).collect();
            let committed_offset = jobs::append_log(&self.app, &runner, &run, body.epoch, body.offset, lines).await?;
            Ok(pb::AppendJobLogsResponse { committed_offset })
        })
        .await
    }

    async fn report_job_progress(
        &self,
        request: Request<pb::ReportJobProgressRequest>,
    ) -> Result<Response<pb::ReportJobProgressResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (runner, run) = lease(&caller, &self.app, &body.run)?;
            if body.entries.len() > ENTRIES {
                return Err(Error::field("entries", format!("at most {ENTRIES} steps in one call")));
            }
            let entries = body.entries.into_iter().map(entry).collect();
            let state = (!body.state.is_empty()).then(|| new_state(body.state, body.resources, body.addresses));
            let outlives = body.outlives.map(|outlives| outlives.seconds);
            let report = Report { number: body.sequence, entries, state, outlives };
            let cancel_requested = jobs::progress(&self.app, &runner, &run, body.epoch, report).await?;
            Ok(pb::ReportJobProgressResponse { cancel_requested })
        })
        .await
    }

    async fn resume_job(&self, request: Request<pb::ResumeJobRequest>) -> Result<Response<pb::ResumeJobResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (runner, run) = lease(&caller, &self.app, &body.run)?;
            let (epoch, cancel_requested) = jobs::resume(&self.app, &runner, &run, body.epoch).await?;
            Ok(pb::ResumeJobResponse { epoch, cancel_requested })
        })
        .await
    }

    async fn complete_job(&self, request: Request<pb::CompleteJobRequest>) -> Result<Response<pb::CompleteJobResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (runner, run) = lease(&caller, &self.app, &body.run)?;
            let mut fields = parse::Fields::new();
            let sandbox = fields.check("sandbox", word(body.sandbox));
            let result = fields.check("result", body.result.ok_or_else(|| "required".to_owned()));
            let (sandbox, result) = fields.finish(|| Some((sandbox?, result?)))?;
            jobs::complete(&self.app, &runner, &run, body.epoch, ended(result), sandbox).await?;
            Ok(pb::CompleteJobResponse {})
        })
        .await
    }

    async fn offer_late_result(
        &self,
        request: Request<pb::OfferLateResultRequest>,
    ) -> Result<Response<pb::OfferLateResultResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let held = lease(&caller, &self.app, &body.run)?;
            self.offer_late(&caller, held, body).await
        })
        .await
    }
}

fn description(body: pb::HeartbeatRequest) -> Result<Description> {
    let mut fields = parse::Fields::new();
    let version = fields.check("version", word(body.version));
    let sandbox = fields.check("sandbox", word(body.sandbox));
    let platform = fields.check("platform", word(body.platform));
    let words = |items: usize| if items <= WORDS { Ok(()) } else { Err(format!("at most {WORDS}")) };
    let engines = fields.check(
        "engines",
        words(body.engines.len()).and_then(|()| body.engines.into_iter().map(word).collect::<Result<Vec<_>, _>>()),
    );
    let versions = body.engine_versions.into_iter().map(|(engine, version)| Ok((word(engine)?, word(version)?)));
    let engine_versions = fields
        .check("engine_versions", words(versions.len()).and_then(|()| versions.collect::<Result<BTreeMap<_, _>, String>>()));
    let labels = fields.labels("labels", body.labels);
    let (capacity, running) = (body.capacity, body.running);
    fields.finish(|| {
        Some(Description {
            version: version?,
            engines: engines?,
            capacity,
            running,
            sandbox: sandbox?,
            platform: platform?,
            engine_versions: engine_versions?,
            labels,
        })
    })
}

/// A short text in print.
fn word(text: String) -> Result<String, String> {
    if text.len() <= WORD && !text.contains(char::is_control) {
        Ok(text)
    } else {
        Err(format!("at most {WORD} bytes, none of them control characters"))
    }
}

async fn gone(hung_up: Option<HungUp>) {
    match hung_up {
        Some(HungUp(token)) => token.cancelled_owned().await,
        None => std::future::pending().await,
    }
}

/// Only a runner's own certificate says which runner it is.
fn runner(caller: &Caller, app: &freehold_service::App) -> Result<RunnerName> {
    match &caller.principal {
        Principal::Runner(name) => {
            caller.require(&name.to_string(), app.now())?;
            Ok(name.clone())
        }
        other => Err(Error::new(Reason::PermissionMissing, format!("{other} is not a runner; use a runner's certificate"))
            .with("permission", caller.call.permission)),
    }
}

fn lease(caller: &Caller, app: &freehold_service::App, run: &str) -> Result<(RunnerName, RunName)> {
    Ok((runner(caller, app)?, parse::name("run", run)?))
}

fn job_message(job: Job) -> Result<pb::Job> {
    let kind = match (job.run.phase, job.run.kind) {
        (RunPhase::Applying, _) => pb::JobKind::Apply,
        (_, RunKind::Drift) => pb::JobKind::Drift,
        _ => pb::JobKind::Plan,
    };
    let (payload, state) = match job.work {
        Work::Plan(work) => (serde_json::to_vec(&work).map_err(Error::internal)?, None),
        Work::Apply { plan, state } => (plan, state),
    };
    Ok(pb::Job {
        run: job.run.name.to_string(),
        epoch: job.run.epoch,
        lease_duration: Some(duration(job.lease)),
        kind: kind.into(),
        engine: job.run.engine.clone(),
        payload,
        attempt: job.run.attempt,
        journal: job
            .journal
            .into_iter()
            .map(|entry| pb::JournalEntry {
                address: entry.address,
                step_id: entry.step_id,
                state: entry.state,
                data: entry.data,
                error: entry.error,
            })
            .collect(),
        log_offset: job.log_lines,
        state: state.unwrap_or_default(),
    })
}

/// A state with what is in it; earlier runners send addresses alone.
pub(super) fn new_state(bytes: Vec<u8>, resources: Vec<ResourceMessage>, addresses: Vec<String>) -> NewState {
    let managed = |resource: ResourceMessage| ManagedResource {
        address: resource.address,
        kind: resource.r#type,
        id: resource.id,
        depends_on: resource.depends_on,
    };
    let alone = |address: String| ManagedResource { address, kind: String::new(), id: String::new(), depends_on: Vec::new() };
    let resources = if resources.is_empty() {
        addresses.into_iter().map(alone).collect()
    } else {
        resources.into_iter().map(managed).collect()
    };
    NewState { bytes, resources }
}

fn entry(entry: pb::JournalEntry) -> Entry {
    Entry { address: entry.address, step_id: entry.step_id, state: entry.state, data: entry.data, error: entry.error }
}

fn ended(result: pb::complete_job_request::Result) -> Ended {
    use pb::complete_job_request::Result::{Apply, Failure, Plan};
    match result {
        Plan(plan) => {
            let summary = plan.summary.unwrap_or_default();
            let numbers = summary.summary.unwrap_or_default();
            let changes: BTreeMap<String, PlannedChange> =
                summary.changes.iter().filter_map(|change| Some((change.address.clone(), planned(change)?))).collect();
            let facts = PlanFacts {
                digest: String::new(),
                base_serial: summary.base_serial,
                create: numbers.create,
                update: numbers.update,
                replace: numbers.replace,
                delete: numbers.delete,
                unchanged: numbers.unchanged,
                drifted: numbers.drifted,
                outputs_change: summary.outputs.iter().any(|output| output.action() != ActionMessage::Noop),
                // Counted here, so that the numbers that rules read are those of the changes that they read.
                reversibility: changes.values().map(|change| change.reversibility).collect(),
                binding: match summary.binding() {
                    BindingMessage::Exact => PlanBinding::Exact,
                    BindingMessage::Revalidated => PlanBinding::Revalidated,
                    BindingMessage::IntentOnly | BindingMessage::Unspecified => PlanBinding::IntentOnly,
                },
                reviewed: Reviewed::default(),
                create_time: Timestamp::default(),
            };
            let drifted = Findings::of(summary.changes.iter().filter(|change| change.drifted).map(drifted).collect());
            Ended::Planned { plan: plan.plan, summary: summary.encode_to_vec(), facts, changes, drifted }
        }
        Apply(apply) => {
            let state = new_state(apply.state, apply.resources, apply.addresses);
            let end = ApplyEnd {
                changed: apply.changed,
                unknown: apply.unknown_addresses,
                remaining: state.resources.len(),
                error: apply.error.map(run_error),
                cancelled: apply.cancelled,
            };
            Ended::Applied { end, state, outputs: apply.outputs }
        }
        Failure(failure) => Ended::Failed(run_error(failure.error.unwrap_or_default())),
    }
}

/// What a plan does to a resource; nothing when it is left alone.
fn planned(change: &ResourceChange) -> Option<PlannedChange> {
    let reversibility = match change.reversibility() {
        ReversibilityMessage::Reversible => Reversibility::Reversible,
        ReversibilityMessage::ReversibleWithDataLoss => Reversibility::ReversibleWithDataLoss,
        ReversibilityMessage::Irreversible => Reversibility::Irreversible,
        ReversibilityMessage::Unknown | ReversibilityMessage::Unspecified => Reversibility::Unknown,
    };
    Some(PlannedChange { action: action(change.action())?, kind: change.r#type.clone(), reversibility })
}

/// A resource that is not as it was made.
fn drifted(change: &ResourceChange) -> Drifted {
    let attribute = |attribute: &AttributeChange| {
        (attribute.path.clone(), Values::new(&attribute.before, &attribute.after, attribute.sensitive))
    };
    Drifted {
        address: change.address.clone(),
        kind: change.r#type.clone(),
        gone: change.action() == ActionMessage::Delete,
        attributes: change.attributes.iter().map(attribute).collect(),
    }
}

/// What is done to a resource; nothing when it is left alone.
fn action(action: ActionMessage) -> Option<ChangeAction> {
    match action {
        ActionMessage::Create => Some(ChangeAction::Create),
        ActionMessage::Update => Some(ChangeAction::Update),
        ActionMessage::Replace => Some(ChangeAction::Replace),
        ActionMessage::Delete => Some(ChangeAction::Delete),
        ActionMessage::Noop | ActionMessage::Unspecified => None,
    }
}

pub(super) fn run_error(error: RunErrorMessage) -> RunError {
    RunError { code: error.code, message: error.message, address: error.address, hint: error.hint, retryable: error.retryable }
}

fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or_default()
}
