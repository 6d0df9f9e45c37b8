//! Drift policies, which environments and deployments have.

use std::time::Duration;

use freehold_domain::{
    cron::Cron,
    drift::{DriftPolicy, Remediation, Schedule},
};
use freehold_proto::common::v1 as pb;

use super::parse::Fields;

/// A policy, if one is given.
pub(super) fn optional(fields: &mut Fields, of: &str, given: Option<pb::DriftPolicy>) -> Option<DriftPolicy> {
    let given = given?;
    let remediation = match pb::DriftRemediation::try_from(given.remediation) {
        Ok(pb::DriftRemediation::Unspecified | pb::DriftRemediation::None) => Ok(Remediation::None),
        Ok(pb::DriftRemediation::Propose) => Ok(Remediation::Propose),
        Ok(pb::DriftRemediation::AutoSafe) => Ok(Remediation::AutoSafe),
        Err(_) => Err(format!("{} is none of NONE (1), PROPOSE (2) and AUTO_SAFE (3)", given.remediation)),
    };
    let remediation = fields.check(&format!("{of}.remediation"), remediation);
    let schedule = match (given.every, given.cron.as_str()) {
        (None, "") => Some(Schedule::default()),
        (Some(every), "") => {
            let every = Duration::try_from(every).map_err(|_| "from one hour to 30 days".to_owned());
            fields.check(&format!("{of}.every"), every.and_then(Schedule::every))
        }
        (None, cron) => fields.check(&format!("{of}.cron"), Cron::new(cron, &given.time_zone).map(Schedule::Cron)),
        (Some(_), _) => {
            fields.wrong(&format!("{of}.cron"), "not together with `every`; give one of them");
            None
        }
    };
    if given.cron.is_empty() && !given.time_zone.is_empty() {
        fields.wrong(&format!("{of}.time_zone"), "only together with `cron`");
    }
    let policy =
        DriftPolicy { schedule: schedule?, paused: given.paused, remediation: remediation?, safe_types: given.safe_types };
    for (field, why) in policy.problems() {
        fields.wrong(&format!("{of}.{field}"), why);
    }
    Some(policy)
}

/// A policy as the contract shows it.
pub(super) fn message(policy: &DriftPolicy) -> pb::DriftPolicy {
    let (every, cron, time_zone) = match &policy.schedule {
        Schedule::Every(interval) => (prost_types::Duration::try_from(*interval).ok(), String::new(), String::new()),
        Schedule::Cron(cron) => (None, cron.expression().to_owned(), cron.zone().to_owned()),
    };
    let remediation = match policy.remediation {
        Remediation::None => pb::DriftRemediation::None,
        Remediation::Propose => pb::DriftRemediation::Propose,
        Remediation::AutoSafe => pb::DriftRemediation::AutoSafe,
    };
    pb::DriftPolicy {
        every,
        cron,
        time_zone,
        paused: policy.paused,
        remediation: remediation.into(),
        safe_types: policy.safe_types.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: pb::DriftPolicy) -> Result<DriftPolicy, Vec<String>> {
        let mut fields = Fields::new();
        let policy = optional(&mut fields, "policy", Some(given));
        let wrong = |error: freehold_domain::Error| error.violations().iter().map(|violation| violation.field.clone()).collect();
        fields.finish(|| policy).map_err(wrong)
    }

    #[test]
    fn a_policy_survives_the_way_there_and_back_and_every_wrong_field_is_named() {
        let cron = pb::DriftPolicy {
            cron: "0 3 * * mon".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            remediation: pb::DriftRemediation::AutoSafe.into(),
            safe_types: vec!["file".to_owned()],
            ..Default::default()
        };
        assert_eq!(message(&read(cron.clone()).expect("valid")), cron);
        let daily = read(pb::DriftPolicy::default()).expect("valid");
        assert_eq!(daily, DriftPolicy::default());
        assert_eq!(message(&daily).every.map(|every| every.seconds), Some(86_400));

        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let wrong = [
            (pb::DriftPolicy { every: seconds(60), ..Default::default() }, vec!["policy.every"]),
            (
                pb::DriftPolicy { every: seconds(-1), remediation: 9, ..Default::default() },
                vec!["policy.remediation", "policy.every"],
            ),
            (pb::DriftPolicy { every: seconds(3600), ..cron.clone() }, vec!["policy.cron"]),
            (pb::DriftPolicy { time_zone: "UTC".to_owned(), ..Default::default() }, vec!["policy.time_zone"]),
            (pb::DriftPolicy { time_zone: "Mars".to_owned(), ..cron.clone() }, vec!["policy.cron"]),
            (pb::DriftPolicy { safe_types: vec![], ..cron }, vec!["policy.safe_types"]),
        ];
        for (given, fields) in wrong {
            assert_eq!(read(given).expect_err("wrong"), fields);
        }
    }
}
