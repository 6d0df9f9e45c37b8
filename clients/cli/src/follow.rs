//! A run from its start to its end, live.

use std::future::{pending, ready};

use freehold::{LateResult, LogLevel, LogLine, Run, RunHandle, RunKind, RunOutcome, RunPhase, RunPlan};
use futures::{StreamExt as _, TryStreamExt as _, future::Either, stream};
use tokio::time::{Instant, sleep_until};

use crate::{
    commands::Patience,
    failure::Failure,
    plan::{drift, plan},
    screen::Screen,
    show::{short, time},
    table::clean,
};

/// Shows a run that was started and is left to itself.
pub(crate) fn started(run: &Run, screen: &mut Screen) -> Result<(), Failure> {
    let name = short(&run.name);
    screen.text(run, || format!("run {name}\n{}\nTo follow it: freehold run watch {name}\n", phase_line(run)))
}

/// Follows the run until its plan waits for a decision, shows it, asks unless `yes` has answered already, approves, and follows
/// the run to its end. A no cancels it, and so does Ctrl-C before the decision: a run that nobody decides on is in the way of others.
/// Where only somebody else may approve, it is left to them.
pub(crate) async fn decide_and_apply(run: RunHandle, yes: bool, patience: Patience, screen: &mut Screen) -> Result<(), Failure> {
    screen.note(&format!("run {}", short(&run.run().name)));
    let (name, until) = (run.run().name.clone(), patience.until());
    let (run, written) = match attend(&name, until, decide(run.clone(), yes, screen)).await {
        Err(Failure::Interrupted(_)) => return Err(Failure::Interrupted(give_up(&run).await)),
        decided => match decided? {
            Some(goes_on) => goes_on,
            None => return Ok(()),
        },
    };
    attend(&name, until, follow_to_end(run, written, screen)).await
}

/// Brings the run to the decision, and answers it with the length of the log so far if it goes on after it.
async fn decide(run: RunHandle, yes: bool, screen: &mut Screen) -> Result<Option<(RunHandle, i64)>, Failure> {
    let run = follow_until(run, RunPhase::AwaitingApproval, screen).await?;
    if run.run().is_done() {
        end(run, screen)?;
        return Ok(None);
    }
    let waits = run.run().phase == RunPhase::AwaitingApproval;
    let others = waits && run.run().approval_required && !may_approve_own(run.run());
    screen.aside(&text(run.run(), &run.plan().await?), !yes && !others)?;
    if others {
        let name = short(&run.run().name);
        screen.text(run.run(), || {
            let wait = run.run().waiting_on.as_ref().map_or("an approval by somebody else", |wait| wait.detail.as_str());
            let wait = clean(wait);
            format!("The run {name} waits for {wait}.\nTo review and approve it: freehold run approve {name}\n")
        })?;
        return Ok(None);
    }
    if !waits {
        return Ok(Some((run, 0)));
    }
    if !yes && !screen.ask("Do you want to do this?").await? {
        return Err(Failure::Found(give_up(&run).await));
    }
    if run.run().approval_required {
        let (run, written) = approved(run, None, screen).await?;
        return if waits_for_others(&run, screen)? { Ok(None) } else { Ok(Some((run, written))) };
    }
    let written = lines_so_far(&run).await?;
    Ok(Some((run.apply().send().await?, written)))
}

/// Follows a run to its plan, and answers it if there is nothing to do. Otherwise the plan is shown, and the run is cancelled: it is a
/// failure. So is Ctrl-C.
pub(crate) async fn expect_nothing_to_do(run: RunHandle, patience: Patience, screen: &mut Screen) -> Result<RunHandle, Failure> {
    screen.note(&format!("run {}", short(&run.run().name)));
    let name = run.run().name.clone();
    let planned = match attend(&name, patience.until(), follow_until(run.clone(), RunPhase::AwaitingApproval, screen)).await {
        Err(Failure::Interrupted(_)) => return Err(Failure::Interrupted(give_up(&run).await)),
        planned => planned?,
    };
    if planned.run().is_done() {
        planned.clone().into_result()?;
        return Ok(planned);
    }
    screen.aside(&plan(&planned.plan().await?), false)?;
    let what = give_up(&planned).await;
    Err(Failure::Found(format!("the plan is not empty, it says what differs; {what}")))
}

/// Whether the author of a run may approve it. Where the server does not say, trying tells.
fn may_approve_own(run: &Run) -> bool {
    run.approval_demand.as_ref().is_none_or(|demand| demand.allow_self_approval)
}

/// Cancels a run that nobody decides on any more; answers what has become of it.
async fn give_up(run: &RunHandle) -> String {
    let name = short(&run.run().name);
    match run.cancel().send().await {
        Ok(run) if run.run().outcome == Some(RunOutcome::Cancelled) && !run.run().changed => {
            "nothing was done; the run is cancelled".to_owned()
        }
        Ok(_) => format!("the run was asked to stop; see what becomes of it: freehold run watch {name}"),
        Err(error) => format!("the run could not be cancelled: {error}; do it with: freehold run cancel {name}"),
    }
}

/// Does what there is to do with a run, until it is done, the time is over, or somebody presses Ctrl-C. The run goes on after these.
pub(crate) async fn attend<T>(
    run: &str,
    until: Option<Instant>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let goes_on = || {
        let name = short(run);
        format!("the run goes on; follow it: freehold run watch {name}; stop it: freehold run cancel {name}")
    };
    tokio::select! {
        done = in_time(until, work) => match done {
            Some(done) => done,
            None => Err(Failure::StillGoing(format!("the time is over, and {}", goes_on()))),
        },
        () = interrupted() => Err(Failure::Interrupted(goes_on())),
    }
}

/// What the work comes to, or nothing if that takes longer than somebody wants to wait.
pub(crate) async fn in_time<T>(until: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    let late = async {
        match until {
            Some(until) => sleep_until(until).await,
            None => pending().await,
        }
    };
    tokio::select! {
        done = work => Some(done),
        () = late => None,
    }
}

/// Ctrl-C. Where that cannot be heard, it ends the program at once as ever.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        pending().await
    }
}

/// How long the log of the planning is, which is of no use any more.
async fn lines_so_far(run: &RunHandle) -> Result<i64, Failure> {
    Ok(run.logs_so_far().try_fold(0, |lines, _| ready(Ok(lines + 1))).await?)
}

/// Approves the plan as it was read and follows the run to its end.
pub(crate) async fn approve(
    run: RunHandle,
    comment: Option<String>,
    until: Option<Instant>,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let name = run.run().name.clone();
    let (run, written) = approved(run, comment, screen).await?;
    if waits_for_others(&run, screen)? {
        return Ok(());
    }
    attend(&name, until, follow_to_end(run, written, screen)).await
}

/// Has the plan applied as it was read, where nobody has to approve it, and follows the run to its end.
pub(crate) async fn apply(run: RunHandle, until: Option<Instant>, screen: &mut Screen) -> Result<(), Failure> {
    let name = run.run().name.clone();
    let written = lines_so_far(&run).await?;
    let run = run.apply().send().await?;
    attend(&name, until, follow_to_end(run, written, screen)).await
}

/// Says what a run still waits for after an approval, if it does.
fn waits_for_others(run: &RunHandle, screen: &mut Screen) -> Result<bool, Failure> {
    let waits = run.run().phase == RunPhase::AwaitingApproval;
    if waits {
        screen.text(run.run(), || format!("Your approval is kept.\n{}", phase_line(run.run()) + "\n"))?;
    }
    Ok(waits)
}

/// Approves the plan as it was read; answers the length of the log so far, too.
async fn approved(run: RunHandle, comment: Option<String>, screen: &mut Screen) -> Result<(RunHandle, i64), Failure> {
    let written = lines_so_far(&run).await?;
    let request = run.approve();
    let request = match comment {
        Some(comment) => request.comment(comment),
        None => request,
    };
    match request.send().await {
        Ok(run) => Ok((run, written)),
        Err(error) => {
            if error.is_permission_denied() {
                let name = short(&run.run().name);
                screen.say(&format!("The run still waits for an approval by somebody else: freehold run approve {name}"));
            }
            Err(error.into())
        }
    }
}

/// Follows a run that only looks, and shows what it found. Drift is something found by a check.
pub(crate) async fn look(run: RunHandle, patience: Patience, screen: &mut Screen) -> Result<(), Failure> {
    screen.note(&format!("run {}", short(&run.run().name)));
    let name = run.run().name.clone();
    let run = attend(&name, patience.until(), follow_until(run, RunPhase::Done, screen)).await?;
    if run.run().plan_digest.is_some() {
        let found = run.plan().await?;
        screen.text(&found, || text(run.run(), &found))?;
        if run.run().kind == RunKind::Drift && found.changes.iter().any(|change| change.drifted) {
            return Err(Failure::Found("reality is not as it was made".to_owned()));
        }
    }
    run.into_result()?;
    Ok(())
}

/// What a run would do, or what it found.
pub(crate) fn text(run: &Run, found: &RunPlan) -> String {
    match run.kind {
        RunKind::Drift => drift(found),
        RunKind::Repair => {
            let serial = run.target_state_serial.unwrap_or_default();
            format!(
                "Version {serial} of the state is written again, and nothing else is done. With it, this is to be done next:\n\n{}",
                plan(found)
            )
        }
        _ => plan(found),
    }
}

/// Follows phases, and the log after the lines that were `written` before, to the end.
async fn follow_to_end(run: RunHandle, written: i64, screen: &mut Screen) -> Result<(), Failure> {
    let phases = run.watch().map_ok(Either::Left);
    let logs = run.logs_from(written).map_ok(Either::Right);
    let mut events = stream::select(phases, logs);
    let mut last = run.run().clone();
    while let Some(event) = events.next().await {
        match event? {
            Either::Left(now) => {
                // The end is told when the log has been told.
                if changed(&last, &now) && !now.is_done() {
                    screen.note(&phase_line(&now));
                }
                last = now;
            }
            Either::Right(line) => screen.note(&log_line(&line)),
        }
    }
    screen.note(&phase_line(&last));
    end(run.refresh().await?, screen)
}

/// Follows phases until one is reached or passed, or the run has ended.
async fn follow_until(run: RunHandle, phase: RunPhase, screen: &mut Screen) -> Result<RunHandle, Failure> {
    let mut phases = run.watch();
    let mut last: Option<Run> = None;
    while let Some(now) = phases.try_next().await? {
        if last.as_ref().is_none_or(|last| changed(last, &now)) {
            screen.note(&phase_line(&now));
        }
        if now.phase.has_reached(phase) {
            break;
        }
        last = Some(now);
    }
    Ok(run.wait_until(phase).await?)
}

/// Where the run is, or what it waits for, is another.
pub(crate) fn changed(last: &Run, now: &Run) -> bool {
    let wait = |run: &Run| run.waiting_on.as_ref().map(|wait| wait.detail.clone());
    last.phase != now.phase || wait(last) != wait(now)
}

/// One line about where a run is and what it waits for.
pub(crate) fn phase_line(run: &Run) -> String {
    let wait = run.waiting_on.as_ref().map(|wait| format!(": {}", clean(&wait.detail))).unwrap_or_default();
    match run.outcome {
        Some(outcome) => format!("== {} {outcome}", run.phase),
        None => format!("== {}{wait}", run.phase),
    }
}

/// One line of a log.
pub(crate) fn log_line(line: &LogLine) -> String {
    let level = match line.level {
        LogLevel::Warn => "warning: ",
        LogLevel::Error => "error: ",
        _ => "",
    };
    let address = line.address.as_ref().map(|address| format!("{}: ", clean(address))).unwrap_or_default();
    format!("{} {address}{level}{}", time(line.time), clean(&line.text))
}

/// Shows how the run ended; a bad end is a failure.
fn end(run: RunHandle, screen: &mut Screen) -> Result<(), Failure> {
    let last = run.run();
    screen.text(last, || summary(last))?;
    if matches!(last.outcome, Some(RunOutcome::Failed | RunOutcome::Lost)) {
        screen.note(&format!("See its log: freehold run logs {}", short(&last.name)));
    }
    note_late(last, screen);
    run.into_result()?;
    Ok(())
}

/// Says what runners made of the run that had lost it.
pub(crate) fn note_late(run: &Run, screen: &mut Screen) {
    for late in &run.late_results {
        let see = format!("freehold run late-result {} --epoch {}", short(&run.name), late.epoch);
        screen.note(&format!("{}\nSee it: {see}", late_text(late)));
    }
}

/// What a runner made of a run that it had lost.
pub(crate) fn late_text(late: &LateResult) -> String {
    let named: Vec<_> = late.unrecorded.iter().take(10).map(|resource| clean(&resource.address)).collect();
    let more = if late.unrecorded_count as usize > named.len() { ", …" } else { "" };
    let mut text = format!("{}, which had lost the run, offered later what it had made", short(&late.runner));
    match late.unrecorded_count {
        0 => text.push_str(": nothing that was not known."),
        count => text.push_str(&format!(": {count} that the newest state did not have: {}{more}.", named.join(", "))),
    }
    if !late.unknown_addresses.is_empty() {
        let unknown: Vec<_> = late.unknown_addresses.iter().map(|address| clean(address)).collect();
        text.push_str(&format!(" It could not tell what became of {}.", unknown.join(", ")));
    }
    match &late.error {
        Some(error) => text.push_str(&format!(" It failed: {}", clean(&error.message))),
        None if late.cancelled => text.push_str(" It was stopped before its end."),
        None => {}
    }
    text
}

/// What the run has done; what went wrong is told as the error.
fn summary(run: &Run) -> String {
    let plan = run.plan_summary.unwrap_or_default();
    match run.outcome {
        Some(RunOutcome::NoChanges) => "No changes. What is there is as it should be.\n".to_owned(),
        Some(RunOutcome::Succeeded) if run.kind == RunKind::Repair => {
            "The state is restored; plan to go on from it.\n".to_owned()
        }
        Some(RunOutcome::Succeeded) => {
            let (created, destroyed) = (plan.create + plan.replace, plan.delete + plan.replace);
            format!("Done: {created} created, {} changed, {destroyed} destroyed.\n", plan.update)
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
    };

    use freehold::{Bytes, Client, Stub, raw::proto::deployments::v1 as pb};
    use futures::{FutureExt as _, future::BoxFuture};
    use prost::Message;

    use super::*;
    use crate::{Output, screen::fake::screen};

    const NAME: &str = "tenants/acme/projects/shop/environments/dev/deployments/web/runs/0199";

    /// For each method, the messages of its answers in order; the last answer goes for all calls after.
    type Answers = Vec<(&'static str, VecDeque<Vec<Bytes>>)>;

    #[derive(Clone, Default)]
    struct Script(Arc<Mutex<Answers>>);

    impl Script {
        fn on<M: Message>(self, method: &'static str, answers: impl IntoIterator<Item = Vec<M>>) -> Self {
            let encoded =
                answers.into_iter().map(|stream| stream.iter().map(|message| message.encode_to_vec().into()).collect()).collect();
            self.0.lock().expect("a lock").push((method, encoded));
            self
        }

        fn next(&self, path: &str) -> Vec<Bytes> {
            let mut all = self.0.lock().expect("a lock");
            let (_, answers) =
                all.iter_mut().find(|(method, _)| path.ends_with(method)).unwrap_or_else(|| panic!("{path} is not expected"));
            if answers.len() > 1 { answers.pop_front().expect("an answer") } else { answers[0].clone() }
        }
    }

    impl Stub for Script {
        fn call<'a>(&'a self, path: &'a str, _: Bytes) -> BoxFuture<'a, freehold::Result<Bytes>> {
            async move { Ok(self.next(path).remove(0)) }.boxed()
        }

        fn stream<'a>(&'a self, path: &'a str, _: Bytes) -> BoxFuture<'a, Vec<freehold::Result<Bytes>>> {
            async move { self.next(path).into_iter().map(Ok).collect() }.boxed()
        }
    }

    fn run(phase: RunPhase, etag: &str) -> pb::Run {
        pb::Run {
            name: NAME.into(),
            phase: phase.number(),
            etag: etag.into(),
            plan_digest: "sha256:77".into(),
            plan_summary: Some(pb::PlanSummary { create: 1, ..Default::default() }),
            ..Default::default()
        }
    }

    fn ended(outcome: RunOutcome) -> pb::Run {
        let error = (outcome == RunOutcome::Failed).then(|| pb::RunError { message: "disk full".into(), ..Default::default() });
        pb::Run { outcome: outcome.number(), error, ..run(RunPhase::Done, "9") }
    }

    fn line(text: &str) -> pb::LogLine {
        pb::LogLine { text: text.into(), time: Some(prost_types::Timestamp::default()), ..Default::default() }
    }

    /// A run of one resource that needs no approval, is planned and applied, and ends like this.
    fn server(outcome: RunOutcome) -> Client {
        let watched = |run| pb::WatchRunResponse { run: Some(run) };
        let log = |texts: &[&str], next_offset| pb::TailRunLogsResponse {
            lines: texts.iter().map(|text| line(text)).collect(),
            next_offset,
        };
        let create =
            pb::ResourceChange { address: "file.a".into(), action: pb::ChangeAction::Create.into(), ..Default::default() };
        let plan = pb::RunPlan { changes: vec![create], summary: run(RunPhase::Done, "").plan_summary, ..Default::default() };
        let planned = vec![
            watched(run(RunPhase::Queued, "1")),
            watched(run(RunPhase::Planning, "2")),
            watched(run(RunPhase::AwaitingApproval, "3")),
        ];
        let script = Script::default()
            .on("PlanDeployment", [vec![pb::PlanDeploymentResponse { run: Some(run(RunPhase::Queued, "1")) }]])
            .on("WatchRun", [planned, vec![watched(run(RunPhase::Applying, "8")), watched(ended(outcome))]])
            .on("WaitRun", [vec![pb::WaitRunResponse { run: Some(run(RunPhase::AwaitingApproval, "3")) }]])
            .on("GetRunPlan", [vec![pb::GetRunPlanResponse { run_plan: Some(plan) }]])
            .on("ApplyRun", [vec![pb::ApplyRunResponse { run: Some(run(RunPhase::ApplyQueued, "4")) }]])
            .on("TailRunLogs", [vec![log(&["planned"], 1)], vec![log(&["created file.a"], 2)], vec![]])
            .on("GetRun", [vec![pb::GetRunResponse { run: Some(ended(outcome)) }]]);
        Client::from_stub(script, "acme")
    }

    async fn apply(outcome: RunOutcome, output: Output, quiet: bool) -> (Result<(), Failure>, String, String) {
        let (mut screen, out, err) = screen(output, quiet);
        let client = server(outcome);
        let run = client.runs().plan("shop/dev/web").send().await.expect("a run");
        let result = decide_and_apply(run, true, Patience::default(), &mut screen).await;
        (result, out.text(), err.text())
    }

    #[tokio::test(start_paused = true)]
    async fn an_apply_shows_plan_progress_and_end_to_people() {
        let (result, out, err) = apply(RunOutcome::Succeeded, Output::Table, false).await;
        result.expect("it ends well");
        assert_eq!(
            out,
            "Freehold will do this:\n\n  # file.a will be created\n  + file.a\n\nPlan: 1 to create, 0 to change, 0 to destroy.\n\
             Done: 1 created, 0 changed, 0 destroyed.\n"
        );
        let mut lines: Vec<_> = err.lines().collect();
        // Phases and log are two streams; only the order within each is sure.
        let log = lines.iter().position(|line| line.contains("created file.a")).expect("the log");
        assert_eq!(lines.remove(log), "1970-01-01 00:00:00Z created file.a");
        let expected =
            ["run shop/dev/web/0199", "== QUEUED", "== PLANNING", "== AWAITING_APPROVAL", "== APPLYING", "== DONE SUCCEEDED"];
        assert_eq!(lines, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn programs_get_the_run_and_nothing_else() {
        let (result, out, err) = apply(RunOutcome::Succeeded, Output::Json, true).await;
        result.expect("it ends well");
        let run: serde_json::Value = serde_json::from_str(&out).expect("one JSON document");
        assert_eq!((run["name"].as_str(), run["outcome"].as_str(), err.as_str()), (Some(NAME), Some("SUCCEEDED"), ""));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_ends_badly_is_told_and_gives_its_exit_code() {
        let (result, out, err) = apply(RunOutcome::Failed, Output::Table, false).await;
        let failure = result.expect_err("it ends badly");
        assert_eq!(failure.code(), 8);
        assert!(failure.to_string().contains("disk full"), "{failure}");
        assert!(err.contains("freehold run logs shop/dev/web/0199") && !out.contains("Done"), "{out}{err}");
    }
}
