//! How a run is shown to people in another system: what of it, and what was shown so far.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    access::Principal,
    commands::{Place, SHORT_DIGEST},
    console::Console,
    runs::{ChangeAction, PlanFacts, Run, RunKind, RunOutcome, RunPhase},
};

/// Changes that are listed; the others are counted.
const LISTED: usize = 20;
/// Characters of an address or of a text of somebody else that are shown.
const LONGEST: usize = 300;
/// The first pause after a failure, by which each later one doubles, and the longest.
const FIRST: Duration = Duration::from_secs(5);
const LAST: Duration = Duration::from_secs(600);
/// How long showing one state of a run is tried.
const TRIES: u32 = 150;

/// One run at one place of another system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunThread {
    /// Where it is shown.
    pub place: Place,
    /// What the system calls the parts of it, by part.
    pub refs: BTreeMap<String, String>,
    /// Digest of what was shown last, by part.
    pub shown: BTreeMap<String, String>,
    /// Failures since the last success.
    pub tries: u32,
    /// Why it is shown no more; `None` while it is, and after its good end.
    pub given_up: Option<String>,
}

impl RunThread {
    /// Of a run that was not shown yet.
    pub fn new(place: Place) -> Self {
        Self { place, refs: BTreeMap::new(), shown: BTreeMap::new(), tries: 0, given_up: None }
    }

    /// Notes a failure that may pass; answers after what pause to try again, or nothing when that was tried often enough.
    pub fn failed(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.tries += 1;
        let pause = FIRST.saturating_mul(1 << (self.tries - 1).min(16)).min(LAST);
        (self.tries < TRIES).then(|| pause.max(asked.unwrap_or_default().min(LAST)))
    }
}

/// How a run fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Something is done for it, or will be.
    Busy,
    /// It waits for people.
    Waits,
    /// It ended as it was meant to.
    Good,
    /// It ended without harm, and not as it was meant to.
    Ended,
    /// It ended badly.
    Bad,
}

/// What is shown of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// What it is: `APPLY of shop/dev/web`.
    pub title: String,
    /// How it fares.
    pub tone: Tone,
    /// The same in a sentence.
    pub state: String,
    /// Its page in the console, where that is known.
    pub link: Option<String>,
    /// Names and values.
    pub facts: Vec<(&'static str, String)>,
    /// What its plan changes, one a line.
    pub changes: Vec<String>,
    /// How many changes are not listed.
    pub more: usize,
    /// Digest of the plan, while somebody has to decide on it.
    pub decision: Option<String>,
    /// How far an apply is, once one was decided on.
    pub apply: Option<Apply>,
}

/// How far an apply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Apply {
    Queued,
    UnderWay,
    Done,
    Failed,
}

impl View {
    /// What is shown of this run as it is.
    pub fn of(run: &Run, console: &Console) -> Self {
        let (tone, state) = state(run);
        let mut facts = vec![("Run", run.name.short()), ("By", who(&run.creator))];
        if !run.message.is_empty() {
            facts.push(("Why", line(&run.message)));
        }
        if let Some(plan) = &run.plan {
            facts.push(("Plan", counts(plan)));
            facts.push(("Digest", short_digest(&plan.digest)));
        }
        let counting: Vec<String> = run
            .approvals
            .iter()
            .filter(|approval| approval.void.is_none() && approval.approved)
            .map(|approval| format!("{} ({})", who(&approval.principal), approval.channel))
            .collect();
        if !counting.is_empty() {
            facts.push(("Approved by", line(&counting.join(", "))));
        }
        if let Some(rejected) = run.approval.as_ref().filter(|approval| !approval.approved) {
            let why = if rejected.comment.is_empty() { String::new() } else { format!(": {}", line(&rejected.comment)) };
            facts.push(("Rejected by", format!("{} ({}){why}", who(&rejected.principal), rejected.channel)));
        }
        if let Some(error) = &run.error {
            let hint = if error.hint.is_empty() { String::new() } else { format!("; {}", error.hint) };
            facts.push(("Error", line(&format!("{}{hint}", error.message))));
        }
        let changes: Vec<String> = run
            .steps
            .iter()
            .filter(|(_, step)| step.action != ChangeAction::Noop)
            .map(|(address, step)| format!("{} {}", step.action.as_str().to_lowercase(), line(address)))
            .collect();
        let waits = run.phase == RunPhase::AwaitingApproval;
        Self {
            title: format!("{} of {}", run.kind.as_str(), run.name.deployment_name().short()),
            tone,
            state,
            link: console.link(&run.name.to_string()),
            facts,
            more: changes.len().saturating_sub(LISTED),
            changes: changes.into_iter().take(LISTED).collect(),
            decision: run.plan.as_ref().filter(|_| waits).map(|plan| plan.digest.clone()),
            apply: apply(run),
        }
    }
}

/// The beginning of a digest that is enough to name it.
pub fn short_digest(digest: &str) -> String {
    digest.trim_start_matches("sha256:").chars().take(SHORT_DIGEST).collect()
}

fn state(run: &Run) -> (Tone, String) {
    let waits_for = || run.waiting_on.as_ref().map(|on| format!(" It waits for {}.", line(&on.detail))).unwrap_or_default();
    let (tone, text) = match run.phase {
        RunPhase::Pending | RunPhase::Queued => (Tone::Busy, "It will be planned."),
        RunPhase::Preparing | RunPhase::Planning | RunPhase::Checking => (Tone::Busy, "It is being planned."),
        RunPhase::AwaitingApproval => return (Tone::Waits, format!("Its plan waits for a decision.{}", waits_for())),
        RunPhase::ApplyQueued => (Tone::Busy, "It is approved, and will be applied."),
        RunPhase::Applying | RunPhase::Verifying => (Tone::Busy, "It is being applied."),
        RunPhase::Recovering => (Tone::Busy, "Its runner was lost; another one finds out what was done."),
        RunPhase::Done => match run.outcome {
            Some(RunOutcome::Succeeded) if run.kind == RunKind::Plan => (Tone::Good, "It is planned."),
            Some(RunOutcome::Succeeded) if run.kind == RunKind::Drift => (Tone::Good, "It was looked for drift."),
            Some(RunOutcome::Succeeded) => (Tone::Good, "It is applied."),
            Some(RunOutcome::NoChanges) => (Tone::Good, "There is nothing to change."),
            Some(RunOutcome::Rejected) => (Tone::Ended, "Its plan was rejected."),
            Some(RunOutcome::Expired) => (Tone::Ended, "It waited for too long."),
            Some(RunOutcome::Cancelled) => (Tone::Ended, "It was cancelled."),
            Some(RunOutcome::Superseded) => (Tone::Ended, "A newer run has taken its place."),
            Some(RunOutcome::Stale) => (Tone::Ended, "What it planned for has changed; plan again."),
            Some(RunOutcome::QuotaBlocked) => (Tone::Bad, "It does not fit into a quota."),
            Some(RunOutcome::Lost) => (Tone::Bad, "It was lost: nobody knows all that it did."),
            Some(RunOutcome::Failed) | None => (Tone::Bad, "It failed."),
        },
    };
    (tone, text.to_owned())
}

fn apply(run: &Run) -> Option<Apply> {
    let begun = run.steps.values().any(|step| step.start_time.is_some()) || run.changed;
    match run.phase {
        _ if !run.kind.mutates() => None,
        RunPhase::ApplyQueued => Some(Apply::Queued),
        RunPhase::Applying | RunPhase::Verifying | RunPhase::Recovering => Some(Apply::UnderWay),
        RunPhase::Done => match run.outcome {
            Some(RunOutcome::Succeeded) => Some(Apply::Done),
            Some(RunOutcome::Failed | RunOutcome::Lost | RunOutcome::Cancelled) if begun => Some(Apply::Failed),
            _ => None,
        },
        _ => None,
    }
}

fn counts(plan: &PlanFacts) -> String {
    let parts = [(plan.create, "create"), (plan.update, "update"), (plan.replace, "replace"), (plan.delete, "delete")];
    let parts: Vec<String> =
        parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, verb)| format!("{count} to {verb}")).collect();
    match (parts.is_empty(), plan.outputs_change) {
        (true, false) => "no changes".to_owned(),
        (true, true) => "other outputs".to_owned(),
        (false, _) => parts.join(", "),
    }
}

/// A principal without its tenant.
fn who(principal: &Principal) -> String {
    let name = principal.to_string();
    let below = name.strip_prefix("tenants/").and_then(|rest| rest.split_once('/')).map(|(_, below)| below.to_owned());
    below.unwrap_or(name)
}

/// A text of somebody else in one line of bounded length.
fn line(text: &str) -> String {
    let mut short: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_later_and_later_and_at_last_given_up() {
        let mut thread = RunThread::new(Place::Slack { channel: "C1".to_owned() });
        let seconds = |pause: Option<Duration>| pause.map(|pause| pause.as_secs());
        assert_eq!(seconds(thread.failed(None)), Some(5));
        assert_eq!(seconds(thread.failed(None)), Some(10));
        assert_eq!(seconds(thread.failed(Some(Duration::from_secs(90)))), Some(90), "the system knows better");
        assert_eq!(seconds(thread.failed(Some(Duration::from_secs(86_400)))), Some(600), "within reason");
        let mut tries = 4;
        while thread.failed(None).is_some() {
            tries += 1;
        }
        assert_eq!(tries, TRIES - 1);
    }

    #[test]
    fn what_people_write_is_one_line() {
        assert_eq!(line("a\nb"), "a b");
        assert_eq!(line(&"x".repeat(400)).chars().count(), LONGEST + 1);
        assert_eq!(short_digest("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(who(&"tenants/acme/users/ada".parse().expect("a principal")), "users/ada");
        assert_eq!(who(&"platform/admin".parse().expect("a principal")), "platform/admin");
    }
}
