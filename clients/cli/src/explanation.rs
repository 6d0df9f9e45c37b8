//! Why a run waits, for people.

use freehold::{Blocker, RunExplanation};

use crate::{
    show::{short, time},
    table::clean,
};

/// What it waits for, what ends that, and what comes then: a few lines, the answer first.
pub(crate) fn explanation(why: &RunExplanation) -> String {
    let name = short(&why.name);
    let mut out = match (&why.waiting_on, why.outcome) {
        (Some(on), _) => {
            let since = time(on.since);
            format!("{name} is {} and waits for {}.\nReason: {}, since {since}\n", why.phase, clean(&on.detail), on.reason)
        }
        (None, Some(outcome)) => format!("{name} has ended as {outcome}.\n"),
        (None, None) => format!("{name} is {} and waits for nothing.\n", why.phase),
    };
    if let Some(position) = why.queue_position {
        out.push_str(&format!("Place in the queue: {position}\n"));
    }
    let because = why.prediction.as_deref().map(|text| format!("({})", clean(text))).unwrap_or_default();
    match why.predicted_start_time {
        Some(start) => out.push_str(&format!("Likely start: {} {because}\n", time(Some(start)))),
        None if why.prediction.is_some() => out.push_str(&format!("Likely start: unknown {because}\n")),
        None => {}
    }
    if !why.blockers.is_empty() {
        out.push_str("What can end the wait:\n");
        out.extend(why.blockers.iter().map(blocker));
    }
    if let Some(deadline) = why.deadline {
        let then = why.at_deadline.as_deref().map(clean).unwrap_or_default();
        out.push_str(&format!("Deadline: {}; then {then}\n", time(Some(deadline))));
    }
    out.push_str(&format!("Next: {}\n", clean(&why.next)));
    out
}

fn blocker(blocker: &Blocker) -> String {
    format!("  {}: {}\n    {}\n", short(&blocker.resource), clean(&blocker.detail), clean(&blocker.action))
}
