//! A plan for people, as the contract shows it.

use freehold::raw::proto::deployments::v1 as pb;
use freehold_domain::runs::Reversibility;
use freehold_engines::{Action, Summary};

pub(crate) fn message(summary: &Summary) -> pb::RunPlan {
    let counts = &summary.counts;
    pb::RunPlan {
        digest: String::new(),
        binding: pb::PlanBinding::Exact.into(),
        base_serial: i64::try_from(summary.base_serial).unwrap_or(i64::MAX),
        changes: summary
            .changes
            .iter()
            .map(|change| pb::ResourceChange {
                address: change.address.clone(),
                r#type: change.kind.clone(),
                action: action(change.action).into(),
                attributes: change
                    .attributes
                    .iter()
                    .map(|attribute| pb::AttributeChange {
                        path: attribute.path.clone(),
                        before: attribute.before.clone(),
                        after: attribute.after.clone(),
                        unknown_after: attribute.unknown_after,
                        sensitive: attribute.sensitive,
                        forces_replacement: attribute.forces_replacement,
                    })
                    .collect(),
                depends_on: change.depends_on.clone(),
                reason: change.reason.clone(),
                drifted: change.drifted,
                reversibility: reversibility(change.action, change.reversibility).into(),
            })
            .collect(),
        summary: Some(pb::PlanSummary {
            create: number(counts.create),
            update: number(counts.update),
            replace: number(counts.replace),
            delete: number(counts.delete),
            unchanged: number(counts.unchanged),
            drifted: number(counts.drifted),
            reversible: number(counts.reversible),
            reversible_with_data_loss: number(counts.reversible_with_data_loss),
            irreversible: number(counts.irreversible),
            unknown_reversibility: number(counts.unknown_reversibility),
        }),
        outputs: summary
            .outputs
            .iter()
            .map(|output| pb::OutputChange {
                name: output.name.clone(),
                before: output.before.clone(),
                after: output.after.clone(),
                unknown_after: output.unknown_after,
                sensitive: output.sensitive,
                action: action(output.action).into(),
            })
            .collect(),
        create_time: Some(std::time::SystemTime::now().into()),
        dependencies: Vec::new(),
    }
}

fn action(action: Action) -> pb::ChangeAction {
    match action {
        Action::Create => pb::ChangeAction::Create,
        Action::Update => pb::ChangeAction::Update,
        Action::Replace => pb::ChangeAction::Replace,
        Action::Delete => pb::ChangeAction::Delete,
        Action::Noop => pb::ChangeAction::Noop,
    }
}

fn reversibility(action: Action, reversibility: Reversibility) -> pb::Reversibility {
    match (action, reversibility) {
        (Action::Noop, _) => pb::Reversibility::Unspecified,
        (_, Reversibility::Reversible) => pb::Reversibility::Reversible,
        (_, Reversibility::ReversibleWithDataLoss) => pb::Reversibility::ReversibleWithDataLoss,
        (_, Reversibility::Irreversible) => pb::Reversibility::Irreversible,
        (_, Reversibility::Unknown) => pb::Reversibility::Unknown,
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
