//! One job, from its payload to the report of its end.

use std::{sync::Arc, time::Duration};

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
    DeploymentIdentity, Engine, Engines, JournalEntry, JournalState, Mode, Outcome, Plan, PlanRequest, State, StepError,
};
use tokio::task::JoinHandle;

use crate::{
    Server,
    sink::{JobSink, retried},
    summary,
};

/// Does the job and reports its end, unless the lease is lost; then another runner has it.
pub(crate) async fn execute(server: &Server, engines: &Engines, job: Job) {
    let run = job.run.clone();
    let sink = Arc::new(JobSink::new(server.clone(), &job));
    if job.kind() == JobKind::Apply {
        // Somebody may have asked it to stop while it waited for a runner to finish what another had begun.
        sink.extend_lease().await;
    }
    let keeper = Keeper(tokio::spawn(Arc::clone(&sink).keep_lease(lease(&job))));
    let flusher = tokio::spawn(Arc::clone(&sink).flush_log());
    let ended = match engines.get(&job.engine) {
        Some(engine) => perform(server, engine.as_ref(), &sink, job).await,
        None => failure(&StepError::new("engine-missing", format!("this runner has no engine `{}`", job.engine))),
    };
    sink.close_log();
    if flusher.await.is_err() {
        tracing::error!(run, "the log could not be written to its end");
    }
    if !sink.is_lost() {
        fault::point("runner.completing");
        report(server, &sink, ended).await;
        fault::point("runner.completed");
    }
    drop(keeper);
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

fn lease(job: &Job) -> Duration {
    job.lease_duration.and_then(|duration| Duration::try_from(duration).ok()).unwrap_or(Duration::from_secs(30))
}

async fn perform(server: &Server, engine: &dyn Engine, sink: &JobSink, job: Job) -> Ended {
    let kind = job.kind();
    let done = match kind {
        JobKind::Apply => apply(engine, sink, job).await,
        _ => plan(server, engine, sink, job, kind == JobKind::Drift).await,
    };
    done.unwrap_or_else(|error| failure(&error))
}

async fn plan(server: &Server, engine: &dyn Engine, sink: &JobSink, job: Job, drift: bool) -> Result<Ended, StepError> {
    let invalid = |what: String| StepError::new("job-invalid", what).hint("server and runner may be of versions that do not fit");
    let work: PlanWork =
        serde_json::from_slice(&job.payload).map_err(|error| invalid(format!("the job cannot be read: {error}")))?;
    let name: DeploymentName = work.deployment.parse().map_err(invalid)?;
    let mut files = Vec::new();
    for (path, content) in work.files {
        let content = STANDARD.decode(content).map_err(|error| invalid(format!("{path} cannot be read: {error}")))?;
        files.push(File { path, content });
    }
    let state = work.state.map(|state| State::from_bytes(&serde_json::to_vec(&state).unwrap_or_default())).transpose()?;
    let run = job.run.rsplit('/').next().unwrap_or_default().to_owned();
    let request = PlanRequest {
        run,
        files: Files::new(files).map_err(|wrong| invalid(format!("the files of the blueprint are invalid: {wrong:?}")))?,
        inputs: work.inputs,
        deployment: DeploymentIdentity {
            uid: work.deployment_uid,
            tenant: name.tenant.to_string(),
            project: name.project.to_string(),
            environment: name.environment.to_string(),
            name: work.deployment,
        },
        // The server counts the writes; its serial is the one that the plan is bound to.
        state: state.map(|state| State { serial: u64::try_from(work.serial).unwrap_or_default(), ..state }),
        mode: match (drift, work.destroy) {
            (true, _) => Mode::Drift,
            (false, true) => Mode::Destroy,
            (false, false) => Mode::Apply,
        },
    };
    let prepared = ReportJobProgressRequest { run: job.run.clone(), epoch: job.epoch, ..Default::default() };
    let told = retried(|| {
        let (mut server, prepared) = (server.clone(), prepared.clone());
        async move { server.report_job_progress(prepared).await }
    });
    if let Err(status) = told.await {
        sink.failed(&status);
    }
    let plan = if drift { engine.drift(request, sink).await? } else { engine.plan(request, sink).await? };
    Ok(Ended::Plan(PlanResult { summary: Some(summary::message(&plan.summary_for_people())), plan: plan.to_bytes() }))
}

async fn apply(engine: &dyn Engine, sink: &JobSink, job: Job) -> Result<Ended, StepError> {
    let plan = Plan::from_bytes(&job.payload)?;
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
    Ok(Ended::Apply(result(engine.apply(plan, journal, sink).await?)))
}

fn result(outcome: Outcome) -> ApplyResult {
    ApplyResult {
        changed: outcome.changed,
        addresses: outcome.state.addresses(),
        state: outcome.state.to_bytes(),
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
async fn report(server: &Server, sink: &JobSink, ended: Ended) {
    let report =
        CompleteJobRequest { run: sink.run().to_owned(), epoch: sink.epoch(), result: Some(ended), sandbox: sink.sandbox() };
    if let Err(status) = retried(|| {
        let (mut server, report) = (server.clone(), report.clone());
        async move { server.complete_job(report).await.map(drop) }
    })
    .await
    {
        sink.failed(&status);
    }
}
