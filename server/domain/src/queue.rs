//! The queue of a runner pool: whose run is next.
//!
//! Tenants share the runners of a pool by start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): each job moves the tenant's
//! own clock on by one turn, divided by its weight, and the tenant whose clock is furthest behind is next. The clock of the pool is
//! where the last job began; who comes back after a pause begins near it and has saved up almost nothing. Inside a tenant the class
//! of a run decides, and its age.
//!
//! A class never takes from the share of another tenant: an apply goes one turn earlier than its tenant's clock says and is paid for
//! in full, so that its tenant is later with the next one. A check for drift lets all other work of all tenants go first, until it
//! has waited for as long as its [`patience`](Class::patience) is.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    time::Duration,
};

use crate::{
    access::TenantScope,
    runs::{Run, RunKind, RunPhase},
    time::{Timestamp, Uid},
};

/// What one job costs a tenant of weight 1, on its clock.
pub const TURN: i64 = 1_000_000;
/// How far behind the clock of the pool a tenant is at most. It is more than an apply goes ahead, so that who waits is never moved.
const CREDIT: i64 = 2 * TURN;
/// The highest weight of a tenant.
pub const MAX_WEIGHT: u32 = 100;

/// What a run waits for a runner to do. The order is that of a tenant's runs that are equally old.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// To find out what a lost runner has left behind, and to finish it.
    Recovery,
    /// To apply a plan.
    Apply,
    /// To plan a change.
    Plan,
    /// To plan for somebody who only looks.
    Look,
    /// To look for drift.
    Drift,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 5] = [Self::Recovery, Self::Apply, Self::Plan, Self::Look, Self::Drift];

    /// Of a run that waits for a runner.
    pub const fn of(run: &Run) -> Option<Self> {
        match (run.phase, run.kind) {
            (RunPhase::Recovering, _) => Some(Self::Recovery),
            (RunPhase::ApplyQueued, _) => Some(Self::Apply),
            (RunPhase::Queued, RunKind::Drift) => Some(Self::Drift),
            (RunPhase::Queued, RunKind::Plan) => Some(Self::Look),
            (RunPhase::Queued, _) => Some(Self::Plan),
            _ => None,
        }
    }

    /// Its name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recovery => "RECOVERY",
            Self::Apply => "APPLY",
            Self::Plan => "PLAN",
            Self::Look => "LOOK",
            Self::Drift => "DRIFT",
        }
    }

    /// For how long it lets newer runs of the same tenant go first that are more urgent.
    pub const fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::Recovery | Self::Apply => 0,
            Self::Plan => 15 * 60,
            Self::Look => 30 * 60,
            Self::Drift => 60 * 60,
        })
    }

    /// Where a run of this class stands among those of its tenant: lower is earlier, and it never changes while the run waits.
    pub fn place(self, create_time: Timestamp) -> Timestamp {
        match self {
            Self::Recovery => Timestamp::default(),
            _ => create_time.plus(self.patience()),
        }
    }
}

impl std::str::FromStr for Class {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|class| class.as_str() == text).ok_or_else(|| format!("`{text}` is not a class of runs"))
    }
}

/// What a tenant was given of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// How much it may have, compared with others: 1 to [`MAX_WEIGHT`].
    pub weight: u32,
    /// Its clock at the beginning of its last job; 0 before the first.
    pub began: i64,
    /// Its clock after it.
    pub ended: i64,
}

impl Share {
    /// Of a tenant that has had nothing yet.
    pub const fn new(weight: u32) -> Self {
        Self { weight, began: 0, ended: 0 }
    }

    /// When its next job begins, by the clock of a tenant that is not too far behind that of the pool.
    fn next(self, clock: i64) -> i64 {
        self.ended.max(clock - CREDIT)
    }

    /// After one more job. What has begun is finished at no further cost.
    #[must_use]
    pub fn after(self, class: Class, clock: i64) -> Self {
        if class == Class::Recovery {
            return self;
        }
        let began = self.next(clock);
        Self { began, ended: began + TURN / i64::from(self.weight.max(1)), ..self }
    }
}

/// A run that waits for a runner and could be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Whose.
    pub tenant: TenantScope,
    /// Which.
    pub run: Uid,
    /// What for.
    pub class: Class,
    /// Where it stands among those of its tenant, by [`Class::place`].
    pub place: Timestamp,
    /// What its tenant was given so far.
    pub share: Share,
}

impl Waiting {
    /// What is lowest is next.
    fn key(&self, clock: i64, now: Timestamp) -> (u8, i64, Timestamp, Uid) {
        let (band, ahead) = match self.class {
            Class::Recovery => (0, 0),
            Class::Apply => (1, TURN),
            Class::Drift if now < self.place => (2, 0),
            Class::Plan | Class::Look | Class::Drift => (1, 0),
        };
        (band, self.share.next(clock) - ahead, self.place, self.run)
    }
}

/// Which of these, the first of each tenant, is next by the clock of the pool; `None` when there is none.
pub fn next(heads: &[Waiting], clock: i64, now: Timestamp) -> Option<usize> {
    (0..heads.len()).min_by_key(|index| heads[*index].key(clock, now))
}

/// How many runs are taken until it is this one's turn, itself included, when no other comes and none of them goes.
pub fn position(waiting: impl IntoIterator<Item = Waiting>, run: Uid, mut clock: i64, now: Timestamp) -> Option<usize> {
    let mut queues: BTreeMap<Uid, VecDeque<Waiting>> = BTreeMap::new();
    for one in waiting {
        queues.entry(one.tenant.0).or_default().push_back(one);
    }
    let mut queues: Vec<_> = queues.into_values().collect();
    for queue in &mut queues {
        queue.make_contiguous().sort_by_key(|one| (one.place, one.run));
    }
    let mut heads: Vec<Waiting> = queues.iter_mut().filter_map(VecDeque::pop_front).collect();
    for position in 1.. {
        let index = next(&heads, clock, now)?;
        let taken = heads[index];
        if taken.run == run {
            return Some(position);
        }
        let share = taken.share.after(taken.class, clock);
        clock = clock.max(share.began);
        match queues[index].pop_front() {
            Some(head) => heads[index] = Waiting { share, ..head },
            None => {
                heads.swap_remove(index);
                queues.swap_remove(index);
            }
        }
    }
    None
}

/// When the run at this position begins, if each job lasts this long: there are places that are free, and places whose present job
/// began then. `None` when there is no place at all.
pub fn start(position: usize, free: usize, begun: &[Timestamp], lasts: Duration, now: Timestamp) -> Option<Timestamp> {
    let ends = begun.iter().map(|begun| begun.plus(lasts).max(now));
    let mut places: BinaryHeap<_> = ends.chain(std::iter::repeat_n(now, free.min(position))).map(Reverse).collect();
    for _ in 1..position {
        let Reverse(begins) = places.pop()?;
        places.push(Reverse(begins.plus(lasts)));
    }
    places.pop().map(|Reverse(begins)| begins)
}

#[cfg(test)]
mod tests;
