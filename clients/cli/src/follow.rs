//! A run from its start to its end, live.

use std::future::ready;

use freehold::{LogLevel, LogLine, Run, RunHandle, RunOutcome, RunPhase};
use futures::{StreamExt as _, TryStreamExt as _, future::Either, stream};

use crate::{
    failure::Failure,
    plan::plan,
    screen::Screen,
    show::{short, time},
    table::clean,
};

/// Follows the run until its plan waits for a decision, shows it, asks unless `yes` has answered already, approves, and follows
/// the run to its end. A no cancels it.
pub(crate) async fn decide_and_apply(run: RunHandle, yes: bool, screen: &mut Screen) -> Result<(), Failure> {
    screen.note(&format!("run {}", short(&run.run().name)));
    let run = follow_until(run, RunPhase::AwaitingApproval, screen).await?;
    if run.run().is_done() {
        return end(run, screen);
    }
    screen.aside(&plan(&run.plan().await?))?;
    if run.run().phase != RunPhase::AwaitingApproval {
        return follow_to_end(run, screen).await;
    }
    if yes || screen.ask("Do you want to do this?")? {
        return approve(run, None, screen).await;
    }
    end(run.cancel().send().await?, screen)
}

/// Approves the plan as it was read and follows the run to its end.
pub(crate) async fn approve(run: RunHandle, comment: Option<String>, screen: &mut Screen) -> Result<(), Failure> {
    let request = run.approve();
    let request = match comment {
        Some(comment) => request.comment(comment),
        None => request,
    };
    match request.send().await {
        Ok(run) => follow_to_end(run, screen).await,
        Err(error) => {
            if error.is_permission_denied() {
                let name = short(&run.run().name);
                screen.say(&format!("The run still waits for an approval by somebody else: freehold run approve {name}"));
            }
            Err(error.into())
        }
    }
}

/// Follows a run that only looks, and shows what it found.
pub(crate) async fn look(run: RunHandle, screen: &mut Screen) -> Result<(), Failure> {
    screen.note(&format!("run {}", short(&run.run().name)));
    let run = follow_until(run, RunPhase::Done, screen).await?;
    if run.run().plan_digest.is_some() {
        let found = run.plan().await?;
        screen.text(&found, || plan(&found))?;
    }
    run.into_result()?;
    Ok(())
}

/// Follows phases and the log from here on to the end.
pub(crate) async fn follow_to_end(run: RunHandle, screen: &mut Screen) -> Result<(), Failure> {
    let written = run.logs_so_far().try_fold(0, |lines, _| ready(Ok(lines + 1))).await?;
    let phases = run.watch().map_ok(Either::Left);
    let logs = run.logs_from(written).map_ok(Either::Right);
    let mut events = stream::select(phases, logs);
    let mut last = run.run().clone();
    while let Some(event) = events.next().await {
        match event? {
            Either::Left(now) => {
                if changed(&last, &now) {
                    screen.note(&phase_line(&now));
                }
                last = now;
            }
            Either::Right(line) => screen.note(&log_line(&line)),
        }
    }
    end(run.refresh().await?, screen)
}

/// Follows phases until one is reached or passed, or the run has ended.
async fn follow_until(run: RunHandle, phase: RunPhase, screen: &mut Screen) -> Result<RunHandle, Failure> {
    let mut phases = run.watch();
    let reached = run.wait_until(phase);
    let mut reached = std::pin::pin!(reached);
    let mut last: Option<Run> = None;
    loop {
        tokio::select! {
            biased;
            Some(now) = phases.next() => {
                let now = now?;
                if last.as_ref().is_none_or(|last| changed(last, &now)) {
                    screen.note(&phase_line(&now));
                }
                last = Some(now);
            }
            run = &mut reached => return Ok(run?),
        }
    }
}

fn changed(last: &Run, now: &Run) -> bool {
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
    if last.outcome.is_some_and(|outcome| !outcome.is_good()) {
        screen.note(&format!("See its log: freehold run logs {}", short(&last.name)));
    }
    run.into_result()?;
    Ok(())
}

/// What the run has done; what went wrong is told as the error.
fn summary(run: &Run) -> String {
    let plan = run.plan_summary.unwrap_or_default();
    match run.outcome {
        Some(RunOutcome::NoChanges) => "No changes. What is there is as it should be.\n".to_owned(),
        Some(RunOutcome::Succeeded) => {
            let (created, destroyed) = (plan.create + plan.replace, plan.delete + plan.replace);
            format!("Done: {created} created, {} changed, {destroyed} destroyed.\n", plan.update)
        }
        _ => String::new(),
    }
}
