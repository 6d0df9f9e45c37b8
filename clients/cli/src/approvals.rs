//! Approvals of a run, and what an approval is about.

use std::fmt::Write as _;

use freehold::{Approval, ApprovalDemand, Run};
use serde::Serialize;

use crate::{
    show::{short, time},
    table::clean,
};

/// What a plan needs, and who has approved it, for programs.
#[derive(Serialize)]
pub(crate) struct Approvals<'a> {
    pub(crate) demand: &'a Option<ApprovalDemand>,
    pub(crate) approvals: &'a [Approval],
}

/// What an approval of this run is bound to.
pub(crate) fn subject(run: &Run) -> String {
    let mut out = "\nAn approval is of this and nothing else:\n".to_owned();
    let _ = writeln!(out, "  plan    {}", clean(run.plan_digest.as_deref().unwrap_or("-")));
    let review = run.review_digest.as_deref().unwrap_or("-");
    let _ = writeln!(out, "  review  {} ({} with its inputs)", clean(review), clean(&short(&run.blueprint_version)));
    out + &needs(run)
}

/// What the plan of a run needs, and who has approved it.
pub(crate) fn approvals(run: &Run) -> String {
    let mut out = needs(run);
    for approval in &run.approvals {
        let who = clean(&short(&approval.principal));
        let _ = write!(out, "  {who} approved at {}", time(approval.create_time));
        if let Some(comment) = &approval.comment {
            let _ = write!(out, ": {}", clean(comment));
        }
        match (&approval.void_reason, approval.expire_time) {
            (Some(void), _) => {
                let _ = write!(out, " (does not count: {})", clean(void));
            }
            (None, Some(end)) => {
                let _ = write!(out, " (until {})", time(Some(end)));
            }
            (None, None) => {}
        }
        out.push('\n');
    }
    if let Some(wait) = &run.waiting_on {
        let _ = writeln!(out, "It waits for {}.", clean(&wait.detail));
    }
    out
}

fn needs(run: &Run) -> String {
    let Some(demand) = &run.approval_demand else { return String::new() };
    let by = match (&demand.approval_policy, &demand.rule) {
        (Some(policy), Some(rule)) => format!("rule `{}` of {}", clean(rule), clean(&short(policy))),
        _ => "the environment".to_owned(),
    };
    let from = if demand.from.is_empty() {
        String::new()
    } else {
        format!(" of {}", demand.from.iter().map(|from| clean(&short(from))).collect::<Vec<_>>().join(", "))
    };
    let end =
        demand.plan_expire_time.map(|end| format!("; the plan can be applied until {}", time(Some(end)))).unwrap_or_default();
    match &demand.fault {
        Some(fault) => format!("{by} cannot be evaluated: {}\n", clean(fault)),
        None => format!("{by} asks for {} approvals{from}; there are {}{end}\n", demand.approvals, demand.satisfied),
    }
}
