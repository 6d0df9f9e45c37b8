//! Where an engine reports to: the server, under the fence of the job's lease.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use freehold::raw::{
    proto::{
        deployments::v1::{LogLevel, LogLine, ManagedResource as ResourceMessage},
        runners::v1::{
            AppendJobLogsRequest, ExtendLeaseRequest, Job, JournalEntry as Message, ReportJobProgressRequest, ResumeJobRequest,
        },
    },
    tonic::{Code, Status},
};
use freehold_domain::deployments::ManagedResource;
use freehold_engines::{Confinement, Hold, JournalEntry, Level, Sink, SinkError, Snapshot};
use futures::future::BoxFuture;
use tokio::sync::Notify;

use crate::{
    Server,
    folder::{Apply, Folder},
    turns::Turn,
};

/// Between two tries of a report.
const PAUSE: Duration = Duration::from_millis(300);
/// Lines of log are sent together after this long.
const FLUSH: Duration = Duration::from_millis(150);
/// Lines in one call, at most.
const BATCH: usize = 500;
/// Lines that wait to be sent, at most; what comes on top is dropped, and the log says how much.
const BACKLOG: usize = 20_000;

/// Reports of one job.
pub(crate) struct JobSink {
    server: Server,
    run: String,
    /// Fence and number of the last report under it. Held while a report is under way, so that they arrive in their order.
    lease: tokio::sync::Mutex<Lease>,
    /// What the apply has started goes on for so long without this runner, which therefore can take the job up again.
    outlives: Option<Duration>,
    /// The engine, and where an apply that outlives this runner is remembered.
    engine: String,
    folder: Folder,
    /// How long a lease lasts from its extension, and when the last one that succeeded was asked for.
    lasts: Duration,
    extended: Mutex<Option<Instant>>,
    lost: OnceLock<Instant>,
    /// Others in this runner that were given the same run.
    turn: Arc<Turn>,
    cancelled: AtomicBool,
    /// What kept its programs from this machine.
    confined: Mutex<Option<Confinement>>,
    log: Mutex<Log>,
    wake: Notify,
}

/// A lease, as far as this runner knows.
#[derive(Clone, Copy)]
struct Lease {
    epoch: i64,
    /// Reports of steps under it so far.
    reports: i64,
}

struct Log {
    lines: Vec<LogLine>,
    offset: i64,
    dropped: usize,
    closed: bool,
}

impl JobSink {
    /// Reports of this job, of which `outlives` says how long what it starts goes on without this runner.
    pub(crate) fn new(server: Server, job: &Job, outlives: Option<Duration>, turn: Arc<Turn>, folder: Folder) -> Self {
        Self {
            server,
            run: job.run.clone(),
            lease: tokio::sync::Mutex::new(Lease { epoch: job.epoch, reports: 0 }),
            outlives,
            engine: job.engine.clone(),
            folder,
            lasts: lease(job),
            extended: Mutex::default(),
            lost: OnceLock::new(),
            turn,
            cancelled: AtomicBool::new(false),
            confined: Mutex::default(),
            log: Mutex::new(Log { lines: Vec::new(), offset: job.log_offset, dropped: 0, closed: false }),
            wake: Notify::new(),
        }
    }

    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// What kept its programs from this machine, in words; empty when there were none.
    pub(crate) fn sandbox(&self) -> String {
        self.confined.lock().unwrap_or_else(PoisonError::into_inner).map(|walls| walls.to_string()).unwrap_or_default()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.get().is_some()
    }

    /// Makes a call under the fence of the lease, until it is answered for good. When the lease was lost, and what this job has
    /// started went on all the same, it is taken up again first.
    pub(crate) async fn under_lease<T, F: Future<Output = Result<T, Status>>>(
        &self,
        mut call: impl FnMut(Server, i64, i64) -> F,
        counts: bool,
    ) -> Result<T, Status> {
        let mut lease = self.lease.lock().await;
        loop {
            let number = lease.reports + i64::from(counts);
            let epoch = lease.epoch;
            let refused = match retried(|| call(self.server.clone(), epoch, number)).await {
                Ok(answer) => {
                    lease.reports = number;
                    return Ok(answer);
                }
                Err(status) => status,
            };
            match self.resume(lease.epoch, &refused).await {
                Some(epoch) => {
                    *lease = Lease { epoch, reports: 0 };
                    self.remember(epoch);
                }
                None => {
                    tracing::warn!(run = self.run, code = ?refused.code(), message = refused.message(), "a report was refused");
                    self.lost.get_or_init(Instant::now);
                    return Err(refused);
                }
            }
        }
    }

    /// Remembers under which fence this runner has the apply, for a later life of it.
    pub(crate) async fn begin_apply(&self) {
        let lease = self.lease.lock().await;
        self.remember(lease.epoch);
    }

    fn remember(&self, epoch: i64) {
        if self.outlives.is_some() {
            self.folder.remember_apply(&self.apply(epoch));
        }
    }

    fn apply(&self, epoch: i64) -> Apply {
        Apply { run: self.run.clone(), epoch, engine: self.engine.clone() }
    }

    /// The apply that was lost, and the lines that nobody has taken. Nothing more is reported.
    pub(crate) async fn left(&self) -> (Apply, Vec<LogLine>) {
        let lease = self.lease.lock().await;
        let lines = std::mem::take(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner).lines);
        (self.apply(lease.epoch), lines)
    }

    /// Takes the job up again after the loss of its lease; answers the new fence.
    async fn resume(&self, epoch: i64, refused: &Status) -> Option<i64> {
        self.outlives.filter(|_| is_lease_lost(refused) && !self.is_lost())?;
        let ask = ResumeJobRequest { run: self.run.clone(), epoch };
        let answer = retried(|| {
            let (mut server, ask) = (self.server.clone(), ask.clone());
            async move { server.resume_job(ask).await }
        });
        let answer = answer.await.ok()?.into_inner();
        tracing::info!(run = self.run, "the lease was lost while this runner was away, and is held again");
        self.note_cancel(answer.cancel_requested);
        Some(answer.epoch)
    }

    /// Extends the lease three times in its life.
    pub(crate) async fn keep_lease(self: Arc<Self>) {
        while !self.is_lost() {
            tokio::time::sleep(self.lasts / 3).await;
            self.extend_lease().await;
        }
    }

    /// Extends the lease, and learns whether the run should stop.
    pub(crate) async fn extend_lease(&self) {
        let extend = |mut server: Server, epoch, _| {
            let ask = ExtendLeaseRequest { run: self.run.clone(), epoch };
            // The server counts from a later moment.
            let asked = Instant::now();
            async move { Ok((server.extend_lease(ask).await?, asked)) }
        };
        if let Ok((answer, asked)) = self.under_lease(extend, false).await {
            *self.extended.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
            self.note_cancel(answer.into_inner().cancel_requested);
        }
    }

    fn note_cancel(&self, requested: bool) {
        if requested {
            self.cancelled.store(true, Ordering::SeqCst);
        }
    }

    /// Sends lines of log until the log is closed and sent.
    pub(crate) async fn flush_log(self: Arc<Self>) {
        loop {
            let closed = self.log.lock().unwrap_or_else(PoisonError::into_inner).closed;
            if !self.send_lines().await || (closed && self.is_sent()) {
                return;
            }
            if !closed {
                let _ = tokio::time::timeout(FLUSH, self.wake.notified()).await;
            }
        }
    }

    fn is_sent(&self) -> bool {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).lines.is_empty()
    }

    /// Sends one batch; answers whether more may be sent later.
    async fn send_lines(&self) -> bool {
        let (offset, lines) = {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            (log.offset, log.lines.iter().take(BATCH).cloned().collect::<Vec<_>>())
        };
        if lines.is_empty() {
            return true;
        }
        let append = |mut server: Server, epoch, _| {
            let batch = AppendJobLogsRequest { run: self.run.clone(), epoch, offset, lines: lines.clone() };
            async move { server.append_job_logs(batch).await }
        };
        match self.under_lease(append, false).await {
            Ok(answer) => {
                let committed = answer.into_inner().committed_offset;
                let sent = usize::try_from(committed - offset).unwrap_or(0);
                let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
                if sent == 0 {
                    // The server keeps no more lines of this run.
                    log.lines.clear();
                    return false;
                }
                let sent = sent.min(log.lines.len());
                log.lines.drain(..sent);
                log.offset = committed;
                true
            }
            Err(status) => {
                tracing::warn!(run = self.run, code = ?status.code(), "lines of the log were refused");
                false
            }
        }
    }

    /// No more lines come.
    pub(crate) fn close_log(&self) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.closed = true;
        if log.dropped > 0 {
            let text = format!("{} lines of this log were dropped because they came faster than they could be kept", log.dropped);
            log.lines.push(line(Level::Warn, "", &text));
        }
        drop(log);
        self.wake.notify_one();
    }
}

impl Sink for JobSink {
    fn record<'a>(&'a self, entries: &'a [JournalEntry], state: Option<&'a Snapshot>) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let entries: Vec<Message> = entries.iter().map(message).collect();
            let report = |mut server: Server, epoch, sequence| {
                let report = ReportJobProgressRequest {
                    run: self.run.clone(),
                    epoch,
                    entries: entries.clone(),
                    state: state.map(|state| state.bytes.clone()).unwrap_or_default(),
                    resources: state.map(|state| resources(&state.resources)).unwrap_or_default(),
                    sequence,
                    addresses: Vec::new(),
                    outlives: self.outlives.and_then(|outlives| outlives.try_into().ok()),
                };
                async move { server.report_job_progress(report).await }
            };
            match self.under_lease(report, true).await {
                Ok(answer) if !self.is_lost() => {
                    self.note_cancel(answer.into_inner().cancel_requested);
                    Ok(())
                }
                _ => Err(SinkError::LeaseLost),
            }
        })
    }

    fn log(&self, level: Level, address: &str, text: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.lines.len() < BACKLOG {
            log.lines.push(line(level, address, text));
        } else {
            log.dropped += 1;
        }
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    fn hold(&self) -> Hold {
        if let Some(lost) = self.lost.get() {
            // This runner may be the one that has it now, and not know yet.
            return match () {
                () if self.turn.is_waited_for() => Hold::Left,
                () if lost.elapsed() < self.lasts => Hold::Unsure,
                () => Hold::Lost,
            };
        }
        let extended = *self.extended.lock().unwrap_or_else(PoisonError::into_inner);
        // It distrusts its lease before the server does.
        let held = extended.is_some_and(|asked| asked.elapsed() < self.lasts * 2 / 3);
        if held { Hold::Held } else { Hold::Unsure }
    }

    fn confined(&self, confinement: Confinement) {
        let mut confined = self.confined.lock().unwrap_or_else(PoisonError::into_inner);
        // Of several programs, the run is as well confined as the least of them.
        *confined = Some(confined.map_or(confinement, |other| other.and(confinement)));
    }
}

pub(crate) fn line(level: Level, address: &str, text: &str) -> LogLine {
    let level = match level {
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error => LogLevel::Error,
    };
    LogLine { time: Some(SystemTime::now().into()), level: level.into(), address: address.to_owned(), text: text.to_owned() }
}

fn message(entry: &JournalEntry) -> Message {
    Message {
        address: entry.address.clone(),
        step_id: entry.step_id.clone(),
        state: entry.state.as_str().to_owned(),
        data: entry.data.clone(),
        error: entry.error.clone(),
    }
}

fn lease(job: &Job) -> Duration {
    job.lease_duration.and_then(|duration| Duration::try_from(duration).ok()).unwrap_or(Duration::from_secs(30))
}

/// Resources as the contract has them.
pub(crate) fn resources(resources: &[ManagedResource]) -> Vec<ResourceMessage> {
    let message = |resource: &ManagedResource| ResourceMessage {
        address: resource.address.clone(),
        r#type: resource.kind.clone(),
        id: resource.id.clone(),
        depends_on: resource.depends_on.clone(),
    };
    resources.iter().map(message).collect()
}

/// A fault that passes: the server is away, or overloaded, or stopping.
fn passes(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Unknown | Code::Cancelled
    ) || matches!(status.code(), Code::Aborted | Code::Internal) && !is_lease_lost(status)
}

fn is_lease_lost(status: &Status) -> bool {
    freehold::raw::error(status.clone()).reason() == Some("LEASE_LOST")
}

/// Makes a report until it is answered for good. Every report can be repeated: its fence and offsets make it harmless.
///
/// It does not give up by itself: a server that comes back after an hour either takes the report or says that the lease is lost.
pub(crate) async fn retried<T, F: Future<Output = Result<T, Status>>>(mut call: impl FnMut() -> F) -> Result<T, Status> {
    loop {
        match call().await {
            Err(status) if passes(&status) => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
}
