//! How long deployments live: a time at which they end, or a time for which nobody needed them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The first reminder comes so long before the end.
pub const DAY_BEFORE: Duration = Duration::from_secs(86_400);
/// The second one.
pub const HOUR_BEFORE: Duration = Duration::from_secs(3600);
/// How long after a try to remove what has expired the next one comes.
pub const TRY_AGAIN: Duration = Duration::from_secs(3600);
/// The longest time that can be given, ten years.
pub const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

/// What an environment says of the lifetimes of its deployments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TtlPolicy {
    /// How long a deployment lives when nobody says.
    pub default: Option<Duration>,
    /// The longest that a deployment may live from the moment at which its end is set.
    pub max: Option<Duration>,
}

impl TtlPolicy {
    /// When a deployment ends that shall end then.
    ///
    /// # Errors
    /// What is wrong with the wish.
    pub fn end(&self, wish: Option<Timestamp>, now: Timestamp) -> Result<Option<Timestamp>, String> {
        let Some(wish) = wish else {
            return Ok(self.default.or(self.max).map(|ttl| now.plus(ttl)));
        };
        let max = self.max.unwrap_or(LONGEST);
        if wish <= now {
            Err("must be in the future; destroy the deployment to end it now".to_owned())
        } else if wish > now.plus(max) {
            Err(format!("must be within {} from now, which is the most in this environment", shown(max)))
        } else {
            Ok(Some(wish))
        }
    }

    /// Checks how long a deployment may be left alone.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn idle(&self, wish: Duration) -> Result<Duration, String> {
        let max = self.max.unwrap_or(LONGEST);
        if wish.is_zero() || wish > max { Err(format!("must be more than nothing and at most {}", shown(max))) } else { Ok(wish) }
    }

    /// Checks the policy itself.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(self) -> Result<Self, String> {
        match (self.default, self.max) {
            (Some(time), _) | (_, Some(time)) if time.is_zero() || time > LONGEST => {
                Err(format!("times are more than nothing and at most {}", shown(LONGEST)))
            }
            (Some(default), Some(max)) if default > max => Err("the default is longer than the most".to_owned()),
            (_, Some(max)) if max > LONGEST => Err(format!("times are more than nothing and at most {}", shown(LONGEST))),
            _ => Ok(self),
        }
    }
}

/// A time for people, in its largest whole unit.
pub fn shown(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        _ if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// How long one deployment lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetime {
    /// When it ends.
    pub expire_time: Option<Timestamp>,
    /// It ends when nobody has needed it for so long.
    pub max_idle: Option<Duration>,
    /// When somebody last needed it: changed it, or began a run of it.
    pub active_time: Timestamp,
    /// How much of the present end was told.
    pub told: Told,
    /// When the next try to remove it comes, once it has ended.
    pub next_try: Option<Timestamp>,
}

/// How much of an end was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Told {
    /// Nothing.
    #[default]
    Nothing,
    /// That it is a day away.
    Day,
    /// That it is an hour away.
    Hour,
    /// That it has come.
    End,
}

impl Lifetime {
    /// When it ends, as far as that is known now.
    pub fn end(&self) -> Option<Timestamp> {
        let idle = self.max_idle.map(|idle| self.active_time.plus(idle));
        [self.expire_time, idle].into_iter().flatten().min()
    }

    /// What is to be told or done now, if anything. After a pause it is the last of what was missed: an end that has come needs no
    /// reminder.
    pub fn due(&self, now: Timestamp) -> Option<Told> {
        let end = self.end()?;
        let step = if now >= end {
            Told::End
        } else if now.plus(HOUR_BEFORE) >= end {
            Told::Hour
        } else if now.plus(DAY_BEFORE) >= end {
            Told::Day
        } else {
            Told::Nothing
        };
        let again = self.told == Told::End && self.next_try.is_some_and(|next| now >= next);
        (step > self.told || step == Told::End && again).then_some(step)
    }

    /// When there will be something to tell or to do.
    pub fn next(&self) -> Option<Timestamp> {
        let end = self.end()?;
        match self.told {
            Told::Nothing => Some(end.minus(DAY_BEFORE)),
            Told::Day => Some(end.minus(HOUR_BEFORE)),
            Told::Hour => Some(end),
            Told::End => self.next_try,
        }
    }

    /// Somebody needs it now.
    pub fn active(&mut self, now: Timestamp) {
        if self.told != Told::End {
            self.active_time = now;
            self.begin(now);
        }
    }

    /// It ends at another time from now on. What would be told at once is not: who has just set the end knows it.
    pub fn begin(&mut self, now: Timestamp) {
        self.told = Told::Nothing;
        self.next_try = None;
        self.told = match self.due(now) {
            Some(Told::End) => Told::Hour,
            Some(step) => step,
            None => Told::Nothing,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3600;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(0).plus(Duration::from_secs(seconds))
    }

    #[test]
    fn an_end_is_the_earlier_of_the_two_and_needs_move_only_the_idle_one() {
        let mut life =
            Lifetime { expire_time: Some(at(100 * HOUR)), max_idle: Some(Duration::from_secs(30 * HOUR)), ..Lifetime::default() };
        life.begin(at(0));
        assert_eq!((life.end(), life.next()), (Some(at(30 * HOUR)), Some(at(6 * HOUR))));
        life.active(at(80 * HOUR));
        assert_eq!((life.end(), life.told), (Some(at(100 * HOUR)), Told::Day), "less than a day is left, and that is known");
        assert_eq!(life.due(at(98 * HOUR)), None);
        assert_eq!(life.due(at(99 * HOUR)), Some(Told::Hour));
        assert_eq!(life.due(at(200 * HOUR)), Some(Told::End), "after a pause no reminder of what is over");
        life.told = Told::End;
        life.active(at(201 * HOUR));
        assert_eq!(life.end(), Some(at(100 * HOUR)), "what has ended is not needed back to life");
    }

    #[test]
    fn an_environment_bounds_what_is_wished() {
        let day = Duration::from_secs(86_400);
        let policy = TtlPolicy { default: Some(day), max: Some(7 * day) };
        let now = at(0);
        assert_eq!(policy.end(None, now), Ok(Some(now.plus(day))));
        assert_eq!(TtlPolicy { default: None, ..policy }.end(None, now), Ok(Some(now.plus(7 * day))), "nobody outlives the most");
        assert_eq!(TtlPolicy::default().end(None, now), Ok(None));
        assert_eq!(policy.end(Some(now.plus(7 * day)), now), Ok(Some(now.plus(7 * day))));
        for wrong in [now, now.plus(8 * day)] {
            assert!(policy.end(Some(wrong), now).is_err(), "{wrong}");
        }
        assert!(policy.idle(8 * day).is_err() && policy.idle(Duration::ZERO).is_err() && policy.idle(day).is_ok());
        for wrong in [(Some(2 * day), Some(day)), (Some(Duration::ZERO), None), (None, Some(LONGEST * 2))] {
            assert!(TtlPolicy { default: wrong.0, max: wrong.1 }.check().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        /// Whoever looks at whatever times, each thing is told at most once, in order, never early, and in the end the end is.
        #[test]
        fn everything_is_told_once_and_in_time(
            end in 1_u64..100 * HOUR,
            looks in proptest::collection::vec(0_u64..120 * HOUR, 0..40),
        ) {
            let mut life = Lifetime { expire_time: Some(at(end)), ..Lifetime::default() };
            life.begin(at(0));
            let mut looks = looks;
            looks.sort_unstable();
            looks.push(end);
            looks.push(end + 1);
            looks.sort_unstable();
            let mut told = Vec::new();
            for now in looks {
                let promised = life.next().is_some_and(|next| at(now) >= next);
                prop_assert_eq!(life.due(at(now)).is_some(), promised, "the column says when there is something to do");
                if let Some(step) = life.due(at(now)) {
                    let before = match step { Told::Day => 24 * HOUR, Told::Hour => HOUR, _ => 0 };
                    prop_assert!(now + before >= end);
                    life.told = step;
                    told.push(step);
                }
            }
            prop_assert!(told.is_sorted() && told.windows(2).all(|pair| pair[0] != pair[1]), "{:?}", told);
            prop_assert_eq!(told.last(), Some(&Told::End));
        }
    }
}
