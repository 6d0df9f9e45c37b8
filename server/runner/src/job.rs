//! One job, from its payload to the report of its end.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold::raw::proto::{
    deployments::v1::RunError,
    runners::v1::{
        ApplyResult, CompleteJobRequest, Job, JobFailure, JobKind, PlanResult, ReportJobProgressRequest,
        complete_job_request::Result as Ended,
    },
};
use freehold_domain::{
    blueprints::{Document, File, Files},
    fault,
    jobs::PlanWork,
    names::{DeploymentName, RunName},
};
use freehold_engines::{
    ApplyRequest, DeploymentIdentity, Engine, Engines, JournalEntry, JournalState, Level, Mode, Outcome, PlanRequest, Sink as _,
    StepError,
};
use serde_json::{Map, Value};
use tokio::task::JoinHandle;

use crate::{
    Folder, Secrets, Server, late,
    secrets::{Opener, PlanKey, is_sealed, open, reads_of, seal, told},
    sink::{JobSink, resources},
    summary,
    turns::Turns,
};

/// Between two tries to read secrets for an apply that has begun.
const PAUSE: Duration = Duration::from_secs(5);

/// Does the job and reports its end. When the lease is lost, another runner has it, and what an apply came to is offered as evidence.
pub(crate) async fn execute(server: &Server, engines: &Engines, secrets: &Secrets, turns: &Turns, folder: &Folder, job: Job) {
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
        Some(engine) => perform(engine.as_ref(), &Reading { secrets, folder, outlives: outlives.is_some() }, &sink, job).await,
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

async fn perform(engine: &dyn Engine, reading: &Reading<'_>, sink: &JobSink, job: Job) -> Ended {
    let kind = job.kind();
    let done = match kind {
        JobKind::Apply => apply(engine, reading, sink, job).await,
        _ => plan(engine, reading.secrets, sink, job, kind == JobKind::Drift).await,
    };
    done.unwrap_or_else(|error| failure(&error))
}

async fn plan(engine: &dyn Engine, secrets: &Secrets, sink: &JobSink, job: Job, drift: bool) -> Result<Ended, StepError> {
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
    let files = Files::new(files).map_err(|wrong| invalid(format!("the files of the blueprint are invalid: {wrong:?}")))?;
    let (inputs, found) = match work.secrets.is_empty() {
        true => (work.inputs, None),
        false => {
            let found = secrets.read(&name, &work.secrets).await?;
            told(&found).iter().for_each(|line| sink.log(Level::Info, "", line));
            (whole(&files, work.inputs, found.values.clone())?, Some(found))
        }
    };
    let request = PlanRequest {
        run: uid(&job.run),
        files,
        inputs,
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
    let bytes = match found {
        Some(found) => seal(plan.bytes, found.reads, found.values).await?,
        None => plan.bytes,
    };
    Ok(Ended::Plan(PlanResult { summary: Some(summary::message(&plan.summary)), plan: bytes }))
}

/// Inputs with the secrets that they name, as the blueprint wants them.
fn whole(files: &Files, inputs: Map<String, Value>, values: BTreeMap<String, Value>) -> Result<Map<String, Value>, StepError> {
    let Some(document) = Document::parse(files).0 else {
        return Err(
            StepError::new("blueprint-invalid", "the blueprint cannot be read").hint("mend the blueprint, and plan again")
        );
    };
    document.inputs().with_secrets(inputs, values).map_err(|wrong| {
        let all: Vec<_> = wrong.into_iter().map(|wrong| format!("{}: {}", wrong.field, wrong.description)).collect();
        StepError::new("secret-invalid", all.join("; ")).hint("mend the secret in its store, or name another one")
    })
}

/// What an apply needs to open a plan that was sealed.
struct Reading<'a> {
    secrets: &'a Secrets,
    folder: &'a Folder,
    /// What the apply starts goes on without this runner.
    outlives: bool,
}

impl Reading<'_> {
    /// A plan as its engine wrote it.
    ///
    /// Who goes on with what it has begun itself need not ask the stores again: what it started may still run, and must not be left
    /// alone because a store is down. Another runner that is to find out what was done waits for the stores, for as long as it is to.
    async fn plan(&self, sink: &JobSink, job: &Job) -> Result<Vec<u8>, StepError> {
        if !is_sealed(&job.payload) {
            return Ok(job.payload.clone());
        }
        if let Some(key) = self.folder.plan_key(&job.run) {
            return Ok(open(&job.payload, Opener::Key(PlanKey(key))).await?.0);
        }
        let name: RunName = job.run.parse().map_err(|why: String| StepError::new("job-invalid", why))?;
        let reads = reads_of(&job.payload)?;
        let found = loop {
            match self.secrets.read(&name.deployment_name(), &reads).await {
                Err(error) if error.retryable && !job.journal.is_empty() && !sink.cancelled() && !sink.is_lost() => {
                    sink.log(Level::Warn, "", &format!("{error}; it is tried again until somebody cancels the run"));
                    tokio::time::sleep(PAUSE).await;
                }
                found => break found?,
            }
        };
        let (plan, key) = open(&job.payload, Opener::Secrets(found.values)).await?;
        if self.outlives {
            self.folder.remember_plan_key(&job.run, &key.0);
        }
        Ok(plan)
    }
}

async fn apply(engine: &dyn Engine, reading: &Reading<'_>, sink: &JobSink, job: Job) -> Result<Ended, StepError> {
    let plan = reading.plan(sink, &job).await?;
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
    let request = ApplyRequest { run, plan, journal, state: Some(job.state).filter(|state| !state.is_empty()) };
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
