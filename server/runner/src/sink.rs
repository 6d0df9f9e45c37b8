//! Where an engine reports to: the server, under the fence of the job's lease.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use freehold::raw::{
    proto::{
        deployments::v1::{LogLevel, LogLine},
        runners::v1::{AppendJobLogsRequest, ExtendLeaseRequest, Job, JournalEntry as Message, ReportJobProgressRequest},
    },
    tonic::{Code, Status},
};
use freehold_engines::{Confinement, JournalEntry, Level, Sink, SinkError, State};
use futures::future::BoxFuture;
use tokio::sync::Notify;

use crate::Server;

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
    epoch: i64,
    lost: AtomicBool,
    cancelled: AtomicBool,
    /// Reports of steps so far. An engine makes one after the other.
    reports: AtomicI64,
    /// What kept its programs from this machine.
    confined: Mutex<Option<Confinement>>,
    log: Mutex<Log>,
    wake: Notify,
}

struct Log {
    lines: Vec<LogLine>,
    offset: i64,
    dropped: usize,
    closed: bool,
}

impl JobSink {
    pub(crate) fn new(server: Server, job: &Job) -> Self {
        Self {
            server,
            run: job.run.clone(),
            epoch: job.epoch,
            lost: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            reports: AtomicI64::new(0),
            confined: Mutex::default(),
            log: Mutex::new(Log { lines: Vec::new(), offset: job.log_offset, dropped: 0, closed: false }),
            wake: Notify::new(),
        }
    }

    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    pub(crate) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// What kept its programs from this machine, in words; empty when there were none.
    pub(crate) fn sandbox(&self) -> String {
        self.confined.lock().unwrap_or_else(PoisonError::into_inner).map(|walls| walls.to_string()).unwrap_or_default()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    /// Notes what a refused report means: unless it is a passing fault, the lease is lost.
    pub(crate) fn failed(&self, status: &Status) {
        tracing::warn!(run = self.run, code = ?status.code(), message = status.message(), "a report was refused");
        self.lost.store(true, Ordering::SeqCst);
    }

    /// Extends the lease three times in its life.
    pub(crate) async fn keep_lease(self: std::sync::Arc<Self>, lease: Duration) {
        while !self.is_lost() {
            tokio::time::sleep(lease / 3).await;
            self.extend_lease().await;
        }
    }

    /// Extends the lease, and learns whether the run should stop.
    pub(crate) async fn extend_lease(&self) {
        let ask = ExtendLeaseRequest { run: self.run.clone(), epoch: self.epoch };
        match self.server.clone().extend_lease(ask).await {
            Ok(answer) => self.note_cancel(answer.into_inner().cancel_requested),
            Err(status) if passes(&status) => {}
            Err(status) => self.failed(&status),
        }
    }

    fn note_cancel(&self, requested: bool) {
        if requested {
            self.cancelled.store(true, Ordering::SeqCst);
        }
    }

    /// Sends lines of log until the log is closed and sent.
    pub(crate) async fn flush_log(self: std::sync::Arc<Self>) {
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
        let batch = AppendJobLogsRequest { run: self.run.clone(), epoch: self.epoch, offset, lines };
        let answer = retried(|| {
            let (mut server, batch) = (self.server.clone(), batch.clone());
            async move { server.append_job_logs(batch).await }
        })
        .await;
        match answer {
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
    fn record<'a>(&'a self, entries: &'a [JournalEntry], state: Option<&'a State>) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let report = ReportJobProgressRequest {
                run: self.run.clone(),
                epoch: self.epoch,
                entries: entries.iter().map(message).collect(),
                state: state.map(State::to_bytes).unwrap_or_default(),
                addresses: state.map(State::addresses).unwrap_or_default(),
                sequence: self.reports.fetch_add(1, Ordering::SeqCst) + 1,
            };
            let sent = retried(|| {
                let (mut server, report) = (self.server.clone(), report.clone());
                async move { server.report_job_progress(report).await }
            })
            .await;
            match sent {
                Ok(answer) if !self.is_lost() => {
                    self.note_cancel(answer.into_inner().cancel_requested);
                    Ok(())
                }
                Ok(_) => Err(SinkError::LeaseLost),
                Err(status) => {
                    self.failed(&status);
                    Err(SinkError::LeaseLost)
                }
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

    fn confined(&self, confinement: Confinement) {
        let mut confined = self.confined.lock().unwrap_or_else(PoisonError::into_inner);
        // Of several programs, the run is as well confined as the least of them.
        *confined = Some(confined.map_or(confinement, |other| other.and(confinement)));
    }
}

fn line(level: Level, address: &str, text: &str) -> LogLine {
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

/// A fault that passes: the server is away, or overloaded, or stopping.
fn passes(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Unknown | Code::Cancelled
    ) || matches!(status.code(), Code::Aborted | Code::Internal)
        && freehold::raw::error(status.clone()).reason() != Some("LEASE_LOST")
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
