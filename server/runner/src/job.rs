//! One job, from its payload to the report of its end.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold::raw::proto::{
    deployments::v1::RunError,
    runners::v1::{
        ApplyResult, CompleteJobRequest, Job, JobFailure, JobKind, PlanResult, ReportJobProgressRequest,
        complete_job_request::Result as Ended,
    },
};
use freehold_domain::{
    blueprints::{File, Files},
    fault,
    jobs::PlanWork,
    names::DeploymentName,
};
use freehold_engines::{
    ApplyRequest, DeploymentIdentity, Engine, Engines, JournalEntry, JournalState, Mode, Outcome, PlanRequest, StepError,
};
use tokio::task::JoinHandle;

use crate::{
    Folder, Server, late,
    sink::{JobSink, resources},
    summary,
    turns::Turns,
};

/// Does the job and reports its end. When the lease is lost, another runner has it, and what an apply came to is offered as evidence.
pub(crate) async fn execute(server: &Server, engines: &Engines, turns: &Turns, folder: &Folder, job: Job) {
    let run = job.run.clone();
    let engine = engines.get(&job.engine);
    let applies = job.kind() == JobKind::Apply;
    let outlives = engine.filter(|_| applies).and_then(|engine| engine.outlives());
    let turn = turns.of(&run);
    let sink = Arc::new(JobSink::new(server.clone(), &job, outlives, Arc::clone(&turn), folder.clone()));
    if applies && job.attempt > 1 {
        // Somebody may have asked it to stop while it waited for a runner to finish what another had begun.
        sink.extend_lease().await;
    }
    let keeper = Keeper(tokio::spawn(Arc::clone(&sink).keep_lease()));
    let work = turn.begin().await;
    if applies {
        sink.begin_apply().await;
    }
    let flusher = tokio::spawn(Arc::clone(&sink).flush_log());
    let ended = match engine {
        Some(engine) => perform(engine.as_ref(), &sink, job).await,
        None => failure(&StepError::new("engine-missing", format!("this runner has no engine `{}`", job.engine))),
    };
    sink.close_log();
    if flusher.await.is_err() {
        tracing::error!(run, "the log could not be written to its end");
    }
    if !sink.is_lost() {
        fault::point("runner.completing");
        report(&sink, &ended).await;
        fault::point("runner.completed");
    }
    if let Some(engine) = engine.filter(|_| applies) {
        match ended {
            _ if !sink.is_lost() => {
                engine.forget(&uid(&run));
                folder.forget_apply(&run);
            }
            Ended::Apply(apply) => {
                let (held, lines) = sink.left().await;
                late::offer(server, folder, engine.as_ref(), &held, apply, lines).await;
            }
            // A look at what was left, say, that could not come to its end.
            _ => late::lost(server, folder, engine.as_ref(), &sink.left().await.0, &turn).await,
        }
    }
    drop((keeper, work));
    if sink.is_lost() {
        tracing::warn!(run, "the lease was lost; the run is another runner's now");
    }
}

/// Stops keeping the lease when the job is over, however it ends.
struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn perform(engine: &dyn Engine, sink: &JobSink, job: Job) -> Ended {
    let kind = job.kind();
    let done = match kind {
        JobKind::Apply => apply(engine, sink, job).await,
        _ => plan(engine, sink, job, kind == JobKind::Drift).await,
    };
    done.unwrap_or_else(|error| failure(&error))
}

async fn plan(engine: &dyn Engine, sink: &JobSink, job: Job, drift: bool) -> Result<Ended, StepError> {
    let invalid = |what: String| StepError::new("job-invalid", what).hint("server and runner may be of versions that do not fit");
    let work: PlanWork =
        serde_json::from_slice(&job.payload).map_err(|error| invalid(format!("the job cannot be read: {error}")))?;
    let name: DeploymentName = work.deployment.parse().map_err(invalid)?;
    let mut files = Vec::new();
    for (path, content) in work.files {
        let content = STANDARD.decode(content).map_err(|error| invalid(format!("{path} cannot be read: {error}")))?;
        files.push(File { path, content });
    }
    let state = work.state.map(|state| STANDARD.decode(state)).transpose();
    let state = state.map_err(|error| invalid(format!("the state cannot be read: {error}")))?;
    let request = PlanRequest {
        run: uid(&job.run),
        files: Files::new(files).map_err(|wrong| invalid(format!("the files of the blueprint are invalid: {wrong:?}")))?,
        inputs: work.inputs,
        deployment: DeploymentIdentity {
            uid: work.deployment_uid,
            tenant: name.tenant.to_string(),
            project: name.project.to_string(),
            environment: name.environment.to_string(),
            name: work.deployment,
        },
        state,
        serial: u64::try_from(work.serial).unwrap_or_default(),
        mode: match (drift, work.destroy) {
            (true, _) => Mode::Drift,
            (false, true) => Mode::Destroy,
            (false, false) => Mode::Apply,
        },
    };
    let prepared = |mut server: Server, epoch, _| {
        let prepared = ReportJobProgressRequest { run: job.run.clone(), epoch, ..Default::default() };
        async move { server.report_job_progress(prepared).await }
    };
    // What the server is told of this is for people who watch; the engine need not wait for it.
    let (told, plan) = tokio::join!(sink.under_lease(prepared, false), engine.plan(request, sink));
    if told.is_err() {
        return Err(StepError::new("lease-lost", "the run is not this runner's any more"));
    }
    let plan = plan?;
    Ok(Ended::Plan(PlanResult { summary: Some(summary::message(&plan.summary)), plan: plan.bytes }))
}

async fn apply(engine: &dyn Engine, sink: &JobSink, job: Job) -> Result<Ended, StepError> {
    let mut journal = Vec::new();
    for entry in job.journal {
        let state = JournalState::parse(&entry.state).ok_or_else(|| {
            StepError::new("job-invalid", format!("the journal has a step in the unknown state `{}`", entry.state))
        })?;
        journal.push(JournalEntry {
            address: entry.address,
            step_id: entry.step_id,
            state,
            data: entry.data,
            error: entry.error,
        });
    }
    let run = uid(&job.run);
    let request = ApplyRequest { run, plan: job.payload, journal, state: Some(job.state).filter(|state| !state.is_empty()) };
    Ok(Ended::Apply(result(engine.apply(request, sink).await?)))
}

/// The uid in the name of a run.
pub(crate) fn uid(run: &str) -> String {
    run.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The end of an apply as the contract has it.
pub(crate) fn result(outcome: Outcome) -> ApplyResult {
    ApplyResult {
        changed: outcome.changed,
        addresses: Vec::new(),
        resources: resources(&outcome.state.resources),
        state: outcome.state.bytes,
        outputs: serde_json::to_vec(&outcome.outputs).unwrap_or_default(),
        unknown_addresses: outcome.unknown,
        error: outcome.failed.as_ref().map(run_error),
        cancelled: outcome.cancelled,
    }
}

fn failure(error: &StepError) -> Ended {
    Ended::Failure(JobFailure { error: Some(run_error(error)) })
}

fn run_error(error: &StepError) -> RunError {
    RunError {
        code: error.code.clone(),
        message: error.message.clone(),
        address: error.address.clone(),
        hint: error.hint.clone(),
        retryable: error.retryable,
    }
}

/// Reports the end until the server has it, or says that the lease is lost.
async fn report(sink: &JobSink, ended: &Ended) {
    let complete = |mut server: Server, epoch, _| {
        let report =
            CompleteJobRequest { run: sink.run().to_owned(), epoch, result: Some(ended.clone()), sandbox: sink.sandbox() };
        async move { server.complete_job(report).await }
    };
    // A refusal is noted by the sink.
    let _ = sink.under_lease(complete, false).await;
}
