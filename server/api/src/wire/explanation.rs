//! Why a run waits, as the contract shows it.

use freehold_domain::{
    explain::{Blocker, BlockerKind, Explanation},
    runs::Run,
};
use freehold_proto::deployments::v1 as pb;

use super::{render, runs};

/// What was found out about a run.
pub(super) fn message(run: &Run, why: Explanation) -> pb::RunExplanation {
    let shown = runs::message(run);
    pb::RunExplanation {
        name: shown.name,
        phase: shown.phase,
        outcome: shown.outcome,
        waiting_on: why.waiting_on.as_ref().map(runs::waiting_on),
        blockers: why.blockers.into_iter().map(blocker).collect(),
        queue_position: why.queue_position.map(|position| i32::try_from(position).unwrap_or(i32::MAX)),
        predicted_start_time: why.predicted_start_time.map(render::time),
        prediction: why.prediction,
        deadline: shown.deadline,
        at_deadline: why.at_deadline,
        next: why.next,
        explain_time: Some(render::time(why.explain_time)),
    }
}

fn blocker(blocker: Blocker) -> pb::Blocker {
    let kind = match blocker.kind {
        BlockerKind::Tenant => pb::BlockerKind::Tenant,
        BlockerKind::Quota => pb::BlockerKind::Quota,
        BlockerKind::Run => pb::BlockerKind::Run,
        BlockerKind::Deployment => pb::BlockerKind::Deployment,
        BlockerKind::RunnerPool => pb::BlockerKind::RunnerPool,
        BlockerKind::Runner => pb::BlockerKind::Runner,
        BlockerKind::Principal => pb::BlockerKind::Principal,
    };
    pb::Blocker { kind: kind.into(), resource: blocker.resource, detail: blocker.detail, action: blocker.action }
}
