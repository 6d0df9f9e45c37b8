//! When deployments are looked at for drift, and what is done about what is found.

use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::glob;
use crate::cron::Cron;
use crate::time::{Timestamp, Uid};

/// The shortest time between two checks.
pub const SHORTEST: Duration = Duration::from_secs(3600);
/// The longest.
pub const LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// Types of resources that a policy may name.
const MOST_TYPES: usize = 50;

/// How deployments are looked at for drift.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftPolicy {
    /// When.
    pub schedule: Schedule,
    /// Not at all, for now.
    pub paused: bool,
    /// What is done about what is found.
    pub remediation: Remediation,
    /// Types of resources that are put right without a person, with `*` for any text.
    pub safe_types: Vec<String>,
}

/// When checks are due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Schedule {
    /// Once in each interval of this length, at a moment of it that follows from the deployment's uid, so that all deployments
    /// together are looked at evenly.
    Every(Duration),
    /// At times by the clock on a wall.
    Cron(Cron),
}

/// What is done about drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Remediation {
    /// Nothing; people see it.
    #[default]
    None,
    /// A run is begun that would put it right, and waits for a person.
    Propose,
    /// That run applies by itself when all that drifted is of safe types, and waits otherwise.
    AutoSafe,
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Every(Duration::from_secs(86_400))
    }
}

impl Schedule {
    /// One check in each interval of this length, if it is one that is possible.
    pub fn every(interval: Duration) -> Result<Self, String> {
        if (SHORTEST..=LONGEST).contains(&interval) {
            Ok(Self::Every(interval))
        } else {
            Err("from one hour to 30 days".to_owned())
        }
    }

    /// The first time after this one.
    fn after(&self, uid: Uid, time: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(interval) => {
                let interval = i64::try_from(interval.as_micros()).ok().filter(|interval| *interval > 0)?;
                let moment = moment(uid).rem_euclid(interval);
                let begun = (time.as_micros() - moment).div_euclid(interval);
                Some(Timestamp::from_micros((begun + 1) * interval + moment))
            }
            Self::Cron(cron) => cron.next(time),
        }
    }
}

/// A number that is as good as drawn, and the same for the same uid.
fn moment(uid: Uid) -> i64 {
    let digest = digest(&SHA256, uid.0.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_ref()[..8]);
    i64::from_be_bytes(first) >> 1
}

impl DriftPolicy {
    /// When the deployment with this uid is to be looked at next, if its last turn was then: now, when that time is over already,
    /// however many turns were missed; `None` while the policy is paused.
    pub fn next_check(&self, uid: Uid, last: Timestamp, now: Timestamp) -> Option<Timestamp> {
        if self.paused {
            return None;
        }
        Some(self.schedule.after(uid, last)?.max(now))
    }

    /// Another try when a turn could not be taken at this time: a part of the interval later, and before the next turn.
    pub fn retry(&self, uid: Uid, now: Timestamp) -> Option<Timestamp> {
        let next = self.next_check(uid, now, now)?;
        Some(next.min(now.plus((next.since(now) / 24).clamp(Duration::from_secs(60), SHORTEST))))
    }

    /// Whether resources of this type are put right without a person.
    pub fn is_safe(&self, kind: &str) -> bool {
        self.safe_types.iter().any(|pattern| glob::matches(pattern, kind))
    }

    /// Everything wrong with it, each with the field's name.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.safe_types.len() > MOST_TYPES {
            problems.push(("safe_types", format!("at most {MOST_TYPES}")));
        }
        if let Some(why) = self.safe_types.iter().find_map(|kind| glob::checked(kind).err()) {
            problems.push(("safe_types", why));
        }
        if self.remediation == Remediation::AutoSafe && self.safe_types.is_empty() {
            problems.push((
                "safe_types",
                "name the types of resources that are safe to put right; AUTO_SAFE does nothing without".to_owned(),
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3600;

    fn every(hours: u64) -> DriftPolicy {
        DriftPolicy { schedule: Schedule::every(Duration::from_secs(hours * HOUR)).expect("valid"), ..DriftPolicy::default() }
    }

    fn daily(zone: &str) -> DriftPolicy {
        DriftPolicy { schedule: Schedule::Cron(Cron::new("30 2 * * *", zone).expect("valid")), ..DriftPolicy::default() }
    }

    fn uid(number: u128) -> Uid {
        Uid(uuid::Uuid::from_u128(number))
    }

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(hours * HOUR)
    }

    #[test]
    fn all_deployments_together_are_looked_at_evenly() {
        const MANY: u128 = 24_000;
        let begin = Timestamp::from_micros(1_767_225_600_000_000);
        let mut of_hour = [0_u32; 24];
        for number in 0..MANY {
            let due = every(24).next_check(uid(number), begin, begin).expect("a time");
            of_hour[usize::try_from(due.since(begin).as_secs() / HOUR).expect("small") % 24] += 1;
        }
        for count in of_hour {
            // A thousand each, give or take five deviations.
            assert!((840..=1160).contains(&count), "{of_hour:?}");
        }
    }

    #[test]
    fn a_paused_policy_has_no_next_check_and_wrong_intervals_are_refused() {
        let now = Timestamp::from_micros(0);
        assert_eq!(DriftPolicy { paused: true, ..every(24) }.next_check(uid(1), now, now), None);
        for wrong in [Duration::ZERO, hours(1) - Duration::from_secs(1), hours(30 * 24) + Duration::from_secs(1)] {
            assert!(Schedule::every(wrong).is_err(), "{wrong:?}");
        }
        let safe = DriftPolicy { remediation: Remediation::AutoSafe, ..every(24) };
        assert_eq!(safe.problems().len(), 1, "AUTO_SAFE names what is safe");
        let safe = DriftPolicy { safe_types: vec!["file".to_owned(), "random_*".to_owned()], ..safe };
        assert!(safe.problems().is_empty() && safe.is_safe("file") && safe.is_safe("random_pet") && !safe.is_safe("files"));
    }

    proptest! {
        /// Whoever looks in time, each a little late, looks once in each interval, for years and over changes of the clock.
        #[test]
        fn each_interval_has_its_check(number: u128, every_hours in 1_u64..=720, lateness in 0_u64..30, begin in 0_i64..4_000_000_000) {
            let policy = every(every_hours);
            let begin = Timestamp::from_micros(begin * 1_000_000);
            let mut last = begin;
            for _ in 0..50 {
                let due = policy.next_check(uid(number), last, last).expect("a time");
                prop_assert!(due > last && due.since(last) <= hours(every_hours));
                last = due.plus(Duration::from_secs(lateness));
            }
            let gone = last.since(begin);
            prop_assert!(gone > hours(49 * every_hours) && gone <= hours(50 * every_hours) + Duration::from_secs(lateness));
        }

        /// However long nobody looked, one check is due, and the one after it is in the future and on schedule again.
        #[test]
        fn what_was_missed_is_made_up_for_once(number: u128, every_hours in 1_u64..=720, away in 0_u64..100_000) {
            for policy in [every(every_hours), daily("Europe/Berlin")] {
                let last = Timestamp::from_micros(1_767_225_600_000_000);
                let now = last.plus(hours(away));
                let due = policy.next_check(uid(number), last, now).expect("a time");
                prop_assert!(due >= now);
                if due == now {
                    let next = policy.next_check(uid(number), now, now).expect("a time");
                    prop_assert!(next > now);
                    prop_assert_eq!(Some(next), policy.schedule.after(uid(number), now));
                } else {
                    prop_assert_eq!(Some(due), policy.schedule.after(uid(number), last), "nothing was missed");
                }
            }
        }

        /// A day has one check, also the one that is an hour shorter or longer.
        #[test]
        fn a_day_has_one_check_whatever_the_clock_does(day in 0_u64..3650, zone in prop_oneof!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]) {
            let policy = daily(&zone);
            let begin = Timestamp::from_micros(1_767_225_600_000_000).plus(hours(24 * day));
            let first = policy.next_check(uid(1), begin, begin).expect("a time");
            let second = policy.next_check(uid(1), first, first).expect("a time");
            prop_assert!((hours(23)..=hours(25)).contains(&second.since(first)), "{first} {second}");
        }

        /// A turn that could not be taken is tried again soon, and before the next turn.
        #[test]
        fn another_try_comes_before_the_next_turn(number: u128, every_hours in 1_u64..=720, now in 0_i64..4_000_000_000) {
            let (policy, now) = (every(every_hours), Timestamp::from_micros(now * 1_000_000));
            let retry = policy.retry(uid(number), now).expect("a time");
            prop_assert!(retry > now && retry.since(now) <= SHORTEST);
            prop_assert!(retry <= policy.next_check(uid(number), now, now).expect("a time"));
        }
    }
}
