//! Drift policies, which environments and deployments have.

use std::time::Duration;

use freehold_proto::common::v1 as pb;

use crate::wire::{Lift, values};

/// How deployments are looked at for drift: when, and what is done about what is found.
///
/// ```
/// use freehold::{DriftPolicy, DriftRemediation};
///
/// let policy = DriftPolicy::cron("0 3 * * mon-fri", "Europe/Berlin").remediation(DriftRemediation::Propose);
/// # let _ = policy;
/// ```
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct DriftPolicy {
    /// Time between two looks; absent where `cron` says when. Written as `86400s`, as the contract's JSON has it.
    #[serde(serialize_with = "seconds")]
    pub every: Option<Duration>,
    /// Times by the clock on a wall, `minute hour day-of-month month day-of-week`.
    pub cron: Option<String>,
    /// Time zone of `cron`.
    pub time_zone: Option<String>,
    /// Not at all, for now.
    pub paused: bool,
    /// What is done about what is found.
    pub remediation: DriftRemediation,
    /// For [`AutoSafe`](DriftRemediation::AutoSafe): types of resources that may be put right without a person, with `*` for any
    /// text.
    pub safe_types: Vec<String>,
}

fn seconds<S: serde::Serializer>(every: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match every {
        Some(every) => serializer.collect_str(&format_args!("{}s", every.as_secs_f64())),
        None => serializer.serialize_none(),
    }
}

values! {
    /// What is done about drift.
    DriftRemediation {
        /// Nothing; people see it.
        None = 1 "NONE",
        /// A run is begun that would put it right, and waits for a person.
        Propose = 2 "PROPOSE",
        /// That run applies by itself where that is safe.
        AutoSafe = 3 "AUTO_SAFE",
    }
}

impl DriftPolicy {
    /// One look in each interval of this length, 1 hour to 30 days, at a moment that differs from deployment to deployment.
    pub fn every(interval: Duration) -> Self {
        Self {
            every: Some(interval),
            cron: None,
            time_zone: None,
            paused: false,
            remediation: DriftRemediation::None,
            safe_types: Vec::new(),
        }
    }

    /// Looks at times by the clock on a wall, at most once an hour; the time zone is a name like `Europe/Berlin`.
    pub fn cron(expression: impl Into<String>, time_zone: impl Into<String>) -> Self {
        Self { every: None, cron: Some(expression.into()), time_zone: Some(time_zone.into()), ..Self::every(Duration::ZERO) }
    }

    /// Whether there are no looks for now.
    #[must_use]
    pub fn paused(mut self, paused: bool) -> Self {
        self.paused = paused;
        self
    }

    /// What is done about what is found.
    #[must_use]
    pub fn remediation(mut self, remediation: DriftRemediation) -> Self {
        self.remediation = remediation;
        self
    }

    /// Types of resources that may be put right without a person.
    #[must_use]
    pub fn safe_types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.safe_types = types.into_iter().map(Into::into).collect();
        self
    }

    pub(crate) fn message(self) -> pb::DriftPolicy {
        pb::DriftPolicy {
            every: self.every.and_then(|every| prost_types::Duration::try_from(every).ok()),
            cron: self.cron.unwrap_or_default(),
            time_zone: self.time_zone.unwrap_or_default(),
            paused: self.paused,
            remediation: self.remediation.number(),
            safe_types: self.safe_types,
        }
    }
}

impl Lift<DriftPolicy> for pb::DriftPolicy {
    fn lift(self) -> DriftPolicy {
        DriftPolicy {
            every: self.every.lift(),
            cron: self.cron.lift(),
            time_zone: self.time_zone.lift(),
            paused: self.paused,
            remediation: self.remediation.lift(),
            safe_types: self.safe_types,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_survives_the_way_there_and_back() {
        let hourly = DriftPolicy::every(Duration::from_secs(3600)).remediation(DriftRemediation::AutoSafe).safe_types(["file"]);
        for policy in [hourly, DriftPolicy::cron("0 3 * * *", "UTC").paused(true)] {
            let every = serde_json::to_value(&policy).expect("JSON")["every"].clone();
            assert_eq!(every.as_str(), policy.every.map(|_| "3600s"));
            assert_eq!(Lift::<DriftPolicy>::lift(policy.clone().message()), policy);
        }
    }
}
