//! A run to follow.

use std::sync::Arc;

use freehold_proto::deployments::v1 as pb;
use futures::StreamExt as _;
use tokio::time::timeout;

use crate::{
    Code, Error, LogLine, Run, RunOutcome, RunPhase, RunPlan,
    call::{Call, Core, present},
    error::Result,
    list::Answers,
    names::Kind,
    retry::Patience,
    runs::{ApplyRun, ApproveRun, CancelRun, RejectRun, Runs, WithdrawApproval},
    streams::{IDLE, Out, in_task, put},
    wire::Lift,
};

const GET: &str = "/freehold.deployments.v1.RunService/GetRun";
const WAIT: &str = "/freehold.deployments.v1.RunService/WaitRun";
const WATCH: &str = "/freehold.deployments.v1.RunService/WatchRun";
const LOGS: &str = "/freehold.deployments.v1.RunService/TailRunLogs";

/// A run as it was last read, and the means to follow it.
///
/// Waits and streams survive a server that is away for less than five minutes. Dropping a handle cancels nothing.
#[derive(Clone)]
pub struct RunHandle {
    core: Arc<Core>,
    run: Run,
}

impl RunHandle {
    pub(crate) fn new(core: Arc<Core>, run: Run) -> Self {
        Self { core, run }
    }

    pub(crate) fn runs(&self) -> Runs {
        Runs::new(self.core.clone())
    }

    /// The run as it was last read.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Takes the run out.
    pub fn into_run(self) -> Run {
        self.run
    }

    /// Reads the run again.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found), and those of any call.
    pub async fn refresh(self) -> Result<Self> {
        Runs::new(self.core).get(&self.run.name).send().await
    }

    /// Waits until the run has reached this phase, has passed it, or has ended, however long that takes. Which of them it is,
    /// [`run`](Self::run) then says: a run that needs no approval never awaits one.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found), and those of any call. A run that ends badly is an answer, not an error.
    pub async fn wait_until(mut self, phase: RunPhase) -> Result<Self> {
        let wait: Vec<_> = RunPhase::ALL.iter().copied().filter(|other| !other.has_reached(phase)).collect();
        let request = pb::WaitRunRequest { while_in: wait.iter().map(|phase| phase.number()).collect(), ..Default::default() };
        let call = Call::new(&self.core, request).name(Kind::Run, &self.run.name, |request, name| request.name = name);
        let mut patience = Patience::new(self.core.policy);
        while !self.run.phase.has_reached(phase) {
            match call.clone().send::<pb::WaitRunResponse>(WAIT).await {
                Ok(answer) => {
                    self.run = present(answer.run, "run")?.lift();
                    patience.restored();
                }
                Err(error) => patience.wait(error).await?,
            }
        }
        Ok(self)
    }

    /// Waits until the run has ended, well or badly, however long that takes.
    ///
    /// # Errors
    /// As [`wait_until`](Self::wait_until).
    pub async fn wait_done(self) -> Result<Self> {
        self.wait_until(RunPhase::Done).await
    }

    /// The run if it ended well.
    ///
    /// # Errors
    /// An error with [`run_outcome`](Error::run_outcome) that says what went wrong and what to do next; or
    /// [`is_failed_precondition`](Error::is_failed_precondition) when it has not ended.
    pub fn into_result(self) -> Result<Run> {
        let run = self.run;
        match run.outcome {
            Some(outcome) if outcome.is_good() => Ok(run),
            Some(outcome) => Err(bad_end(&run, outcome)),
            None => Err(Error::new(
                Code::FailedPrecondition,
                format!("the run has not ended, it is {}; wait until it has", run.phase),
            )),
        }
    }

    /// Reads the plan.
    ///
    /// # Errors
    /// [`is_failed_precondition`](Error::is_failed_precondition) while there is no plan yet. When the run has ended without one,
    /// an error with [`run_outcome`](Error::run_outcome) that says why, as [`into_result`](Self::into_result) does.
    pub async fn plan(&self) -> Result<RunPlan> {
        match Runs::new(self.core.clone()).get_plan(&self.run.name).send().await {
            Err(error) if error.is_failed_precondition() => {
                let run = self.clone().refresh().await?.run;
                Err(run.outcome.filter(|outcome| !outcome.is_good()).map_or(error, |outcome| bad_end(&run, outcome)))
            }
            read => read,
        }
    }

    /// Approves the plan as it was read; see [`Runs::approve`].
    pub fn approve(&self) -> ApproveRun {
        Runs::new(self.core.clone()).approve(&self.run)
    }

    /// Applies the plan as it was read, where no approval is needed; see [`Runs::apply`].
    pub fn apply(&self) -> ApplyRun {
        Runs::new(self.core.clone()).apply(&self.run)
    }

    /// Rejects the plan as it was read; see [`Runs::reject`].
    pub fn reject(&self) -> RejectRun {
        Runs::new(self.core.clone()).reject(&self.run)
    }

    /// Takes one's own approval back; see [`Runs::withdraw_approval`].
    pub fn withdraw_approval(&self) -> WithdrawApproval {
        Runs::new(self.core.clone()).withdraw_approval(&self.run.name)
    }

    /// Asks the run to stop; see [`Runs::cancel`].
    pub fn cancel(&self) -> CancelRun {
        Runs::new(self.core.clone()).cancel(&self.run.name)
    }

    /// Streams the run now and after every change; ends after its end.
    pub fn watch(&self) -> Answers<Run> {
        let (core, name) = (self.core.clone(), self.run.name.clone());
        in_task(move |out| async move { watch(&core, &name, &out).await })
    }

    /// Streams the log from its first line until the run ends.
    pub fn logs(&self) -> Answers<LogLine> {
        self.logs_from(0)
    }

    /// Streams the log until the run ends, without its first `offset` lines.
    pub fn logs_from(&self, offset: i64) -> Answers<LogLine> {
        let (core, name) = (self.core.clone(), self.run.name.clone());
        in_task(move |out| async move { logs(&core, &name, offset, true, &out).await })
    }

    /// Streams the log lines that there are, and does not wait for more.
    pub fn logs_so_far(&self) -> Answers<LogLine> {
        let (core, name) = (self.core.clone(), self.run.name.clone());
        in_task(move |out| async move { logs(&core, &name, 0, false, &out).await })
    }
}

impl AsRef<Run> for RunHandle {
    fn as_ref(&self) -> &Run {
        &self.run
    }
}

impl std::fmt::Debug for RunHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunHandle").field("run", &self.run).finish_non_exhaustive()
    }
}

fn bad_end(run: &Run, outcome: RunOutcome) -> Error {
    let code = match outcome {
        RunOutcome::Cancelled => Code::Cancelled,
        RunOutcome::QuotaBlocked => Code::ResourceExhausted,
        RunOutcome::Superseded | RunOutcome::Stale => Code::Aborted,
        RunOutcome::Expired => Code::DeadlineExceeded,
        RunOutcome::Rejected => Code::FailedPrecondition,
        _ => Code::Unknown,
    };
    let what = match &run.error {
        Some(error) => {
            let address = error.address.as_ref().map(|address| format!("{address}: ")).unwrap_or_default();
            let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            format!(": {address}{}{hint}", error.message)
        }
        None => match run.approval.as_ref().and_then(|approval| approval.comment.as_ref()) {
            Some(why) if outcome == RunOutcome::Rejected => format!(": {why}"),
            _ => why(outcome).to_owned(),
        },
    };
    Error::new(code, format!("the run ended as {outcome}{what}")).with_metadata("run", &run.name).with_outcome(outcome)
}

/// What an end without an error of its own means, and what to do next.
fn why(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Cancelled => ": somebody stopped it; start another run when it is wanted",
        RunOutcome::QuotaBlocked => ": a quota did not allow it, and nothing was changed; free some, or ask for a higher limit",
        RunOutcome::Superseded => ": a newer run took its place, and this one changed nothing; follow that one",
        RunOutcome::Stale => ": the deployment has changed since the plan was made, and nothing was done; plan again",
        RunOutcome::Expired => ": it waited too long, and nothing was done; plan again",
        RunOutcome::Rejected => ": an approver said no, and nothing was done; change what they object to and plan again",
        _ => "; its log says more",
    }
}

async fn watch(core: &Arc<Core>, name: &str, out: &Out<Run>) -> Result<()> {
    let mut patience = Patience::new(core.policy);
    let mut seen = String::new();
    let request = pb::WatchRunRequest { name: name.to_owned() };
    let tenant = Call::new(core, request.clone()).name(Kind::Run, name, |_, _| {}).tenant();
    loop {
        let mut news = false;
        let end = match core.stream::<pb::WatchRunResponse>(WATCH, &request, tenant.clone()).await {
            Err(error) => Err(error),
            Ok(mut messages) => loop {
                // A run that waits for days sends nothing; opening the stream again shows whether it still does.
                let message = match timeout(IDLE, messages.next()).await {
                    Err(_) | Ok(None) => break Ok(()),
                    Ok(Some(message)) => message,
                };
                let run: Run = match message.and_then(|message| present(message.run, "run")) {
                    Ok(run) => run.lift(),
                    Err(error) => break Err(error),
                };
                patience.restored();
                let done = run.is_done();
                if run.etag != seen {
                    news = true;
                    seen.clone_from(&run.etag);
                    if put(out, run).await.is_err() {
                        return Ok(());
                    }
                }
                if done {
                    return Ok(());
                }
            },
        };
        match end {
            Ok(()) => patience.rest(news).await,
            Err(error) => patience.wait(error).await?,
        }
    }
}

async fn logs(core: &Arc<Core>, name: &str, mut offset: i64, mut follow: bool, out: &Out<LogLine>) -> Result<()> {
    let mut patience = Patience::new(core.policy);
    let tenant = Call::new(core, pb::GetRunRequest::default()).name(Kind::Run, name, |_, _| {}).tenant();
    loop {
        let before = offset;
        let request = pb::TailRunLogsRequest { name: name.to_owned(), offset, follow };
        let end = match core.stream::<pb::TailRunLogsResponse>(LOGS, &request, tenant.clone()).await {
            Err(error) => Err(error),
            Ok(mut messages) => loop {
                match timeout(IDLE, messages.next()).await {
                    Err(_) => break Err(Error::new(Code::Unavailable, "the log stream showed no sign of life")),
                    Ok(None) => break Ok(()),
                    Ok(Some(Err(error))) => break Err(error),
                    Ok(Some(Ok(message))) => {
                        patience.restored();
                        for line in message.lines {
                            if put(out, line.lift()).await.is_err() {
                                return Ok(());
                            }
                        }
                        // A sign of life may leave the offset out.
                        offset = offset.max(message.next_offset);
                    }
                }
            },
        };
        match end {
            Ok(()) if !follow => return Ok(()),
            // A server that stops ends its streams well, too. Only the run itself says whether there is more to come; if not,
            // one more look takes what was written meanwhile.
            Ok(()) => {
                let request = pb::GetRunRequest { name: name.to_owned() };
                match core.unary::<pb::GetRunResponse>(GET, &request, tenant.clone(), None).await {
                    Ok(answer) => follow = answer.run.is_none_or(|run| run.phase != RunPhase::Done.number()),
                    Err(error) => patience.wait(error).await?,
                }
                if follow {
                    patience.rest(offset > before).await;
                }
            }
            Err(error) => patience.wait(error).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Mutex};

    use bytes::Bytes;
    use futures::{FutureExt as _, TryStreamExt as _, future::BoxFuture};
    use prost::Message;

    use super::*;
    use crate::{Client, Stub};

    const RUN: &str = "tenants/acme/projects/shop/environments/dev/deployments/web/runs/0199";

    /// Answers in the order of the script, and keeps what it was asked.
    #[derive(Clone, Default)]
    struct Script {
        answers: Arc<Mutex<VecDeque<Vec<Result<Bytes>>>>>,
        asked: Arc<Mutex<Vec<(String, Bytes)>>>,
    }

    impl Script {
        fn new(answers: impl IntoIterator<Item = Vec<Result<Bytes>>>) -> Self {
            Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Default::default() }
        }

        fn handle(&self, run: pb::Run) -> RunHandle {
            let client = Client::from_stub(self.clone(), "acme");
            RunHandle::new(client.core(), run.lift())
        }

        fn asked<R: Message + Default>(&self, method: &str) -> Vec<R> {
            let asked = self.asked.lock().expect("a lock");
            asked
                .iter()
                .filter(|(path, _)| path.ends_with(method))
                .map(|(_, body)| R::decode(body.clone()).expect("a request"))
                .collect()
        }
    }

    impl Stub for Script {
        fn call<'a>(&'a self, path: &'a str, request: Bytes) -> BoxFuture<'a, Result<Bytes>> {
            async move { self.stream(path, request).await.remove(0) }.boxed()
        }

        fn stream<'a>(&'a self, path: &'a str, request: Bytes) -> BoxFuture<'a, Vec<Result<Bytes>>> {
            self.asked.lock().expect("a lock").push((path.to_owned(), request));
            let answer = self.answers.lock().expect("a lock").pop_front().expect("the script goes on");
            async move { answer }.boxed()
        }
    }

    fn run(phase: RunPhase, etag: &str) -> pb::Run {
        pb::Run { name: RUN.to_owned(), phase: phase.number(), etag: etag.to_owned(), ..Default::default() }
    }

    fn waited(run: pb::Run) -> Vec<Result<Bytes>> {
        vec![Ok(pb::WaitRunResponse { run: Some(run) }.encode_to_vec().into())]
    }

    fn watched(run: pb::Run) -> Result<Bytes> {
        Ok(pb::WatchRunResponse { run: Some(run) }.encode_to_vec().into())
    }

    fn lines(texts: &[&str], next_offset: i64) -> Result<Bytes> {
        let lines = texts.iter().map(|text| pb::LogLine { text: (*text).to_owned(), ..Default::default() }).collect();
        Ok(pb::TailRunLogsResponse { lines, next_offset }.encode_to_vec().into())
    }

    fn away() -> Vec<Result<Bytes>> {
        vec![Err(Error::new(Code::Unavailable, "away"))]
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_outlasts_an_outage_and_ends_when_the_phase_is_reached_or_passed() {
        let mut script: Vec<_> = (0..20).map(|_| away()).collect();
        script.insert(0, waited(run(RunPhase::Planning, "1")));
        script.push(waited(run(RunPhase::Recovering, "2")));
        script.push(waited(run(RunPhase::ApplyQueued, "3")));
        let script = Script::new(script);

        let handle = script.handle(run(RunPhase::Queued, "0")).wait_until(RunPhase::AwaitingApproval).await.expect("it goes on");

        assert_eq!(handle.run().phase, RunPhase::ApplyQueued);
        let asked: pb::WaitRunRequest = script.asked("WaitRun").remove(0);
        assert_eq!((asked.name.as_str(), asked.while_in), (RUN, vec![1, 2, 3, 4, 5, 10]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_what_waiting_cannot_mend() {
        let script = Script::new([vec![Err(Error::new(Code::NotFound, "gone"))]]);
        let error = script.handle(run(RunPhase::Queued, "0")).wait_done().await.expect_err("gone");
        assert!(error.is_not_found());

        let script = Script::new((0..1000).map(|_| away()));
        let begin = tokio::time::Instant::now();
        let error = script.handle(run(RunPhase::Queued, "0")).wait_done().await.expect_err("away for ever");
        assert!(error.is_unavailable());
        assert!((300..400).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn logs_go_on_where_they_broke_and_end_with_the_run() {
        let ended = |phase| vec![Ok(pb::GetRunResponse { run: Some(run(phase, "")) }.encode_to_vec().into())];
        let script = Script::new([
            vec![lines(&["a", "b"], 2), lines(&[], 0), Err(Error::new(Code::Unavailable, "broken"))],
            vec![lines(&["c"], 3)], // a server that stops ends its streams well
            away(),                 // not even that can be asked for a while
            ended(RunPhase::Applying),
            vec![lines(&["d"], 4)],
            ended(RunPhase::Done),
            vec![lines(&["e"], 5)],
        ]);
        let all: Vec<_> =
            script.handle(run(RunPhase::Applying, "")).logs().map_ok(|line| line.text).try_collect().await.expect("lines");
        assert_eq!(all, ["a", "b", "c", "d", "e"]);
        let asked: Vec<_> =
            script.asked("TailRunLogs").into_iter().map(|ask: pb::TailRunLogsRequest| (ask.offset, ask.follow)).collect();
        assert_eq!(asked, [(0, true), (2, true), (3, true), (4, false)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_is_opened_again_and_shows_each_state_once() {
        let script = Script::new([
            vec![watched(run(RunPhase::Queued, "1")), watched(run(RunPhase::Planning, "2"))],
            vec![watched(run(RunPhase::Planning, "2")), Err(Error::new(Code::DeadlineExceeded, "an hour"))],
            vec![watched(run(RunPhase::Done, "3"))],
        ]);
        let seen: Vec<_> =
            script.handle(run(RunPhase::Queued, "1")).watch().map_ok(|run| run.phase).try_collect().await.expect("runs");
        assert_eq!(seen, [RunPhase::Queued, RunPhase::Planning, RunPhase::Done]);
    }

    #[tokio::test]
    async fn approving_sends_what_was_read_and_nothing_without_a_plan() {
        let script =
            Script::new([vec![Ok(pb::ApproveRunResponse { run: Some(run(RunPhase::ApplyQueued, "8")) }.encode_to_vec().into())]]);
        let read = pb::Run { plan_digest: "sha256:77".to_owned(), ..run(RunPhase::AwaitingApproval, "7") };
        script.handle(read).approve().comment("fine").send().await.expect("approved");
        let sent: pb::ApproveRunRequest = script.asked("ApproveRun").remove(0);
        assert_eq!((sent.plan_digest.as_str(), sent.etag.as_str(), sent.comment.as_str()), ("sha256:77", "7", "fine"));
        assert!(!sent.request_id.is_empty());

        let error = script.handle(run(RunPhase::Planning, "1")).approve().send().await.expect_err("no plan");
        assert!(error.is_invalid_argument() && error.message().contains("PLANNING"), "{error}");
    }

    #[tokio::test]
    async fn a_plan_that_there_will_never_be_is_told_as_the_end_of_its_run() {
        let none = || vec![Err(Error::new(Code::FailedPrecondition, "the run has no plan").with_reason("STATE_NOT_ALLOWED"))];
        let got = |run| vec![Ok(pb::GetRunResponse { run: Some(run) }.encode_to_vec().into())];
        let early = Script::new([none(), got(run(RunPhase::Planning, "1"))]);
        let error = early.handle(run(RunPhase::Queued, "")).plan().await.expect_err("not yet");
        assert!(error.is_failed_precondition() && error.run_outcome().is_none(), "{error}");

        let why = pb::RunError { message: "no such file".to_owned(), ..Default::default() };
        let failed = pb::Run { outcome: RunOutcome::Failed.number(), error: Some(why), ..run(RunPhase::Done, "2") };
        let error = Script::new([none(), got(failed)]).handle(run(RunPhase::Done, "2")).plan().await.expect_err("never");
        assert_eq!((error.run_outcome(), error.message()), (Some(RunOutcome::Failed), "the run ended as FAILED: no such file"));
    }

    #[test]
    fn a_bad_end_says_what_and_what_to_do() {
        let error = pb::RunError {
            message: "disk full".to_owned(),
            address: "file.a".to_owned(),
            hint: "free some".to_owned(),
            ..Default::default()
        };
        let failed = pb::Run { outcome: RunOutcome::Failed.number(), error: Some(error), ..run(RunPhase::Done, "") };
        let error = Script::default().handle(failed).into_result().expect_err("failed");
        assert_eq!(error.run_outcome(), Some(RunOutcome::Failed));
        assert_eq!(error.message(), "the run ended as FAILED: file.a: disk full; free some");

        let stale = pb::Run { outcome: RunOutcome::Stale.number(), ..run(RunPhase::Done, "") };
        let error = Script::default().handle(stale).into_result().expect_err("stale").to_string();
        assert!(error.contains("has changed since the plan was made") && error.ends_with("plan again"), "{error}");

        let good = pb::Run { outcome: RunOutcome::NoChanges.number(), ..run(RunPhase::Done, "") };
        assert!(Script::default().handle(good).into_result().is_ok());
        let early = Script::default().handle(run(RunPhase::Applying, "")).into_result().expect_err("not ended");
        assert!(early.is_failed_precondition());
    }
}
