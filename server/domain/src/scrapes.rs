//! What another system could not deliver to us: which of it is asked for again, when, and how often.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// How far back it is looked at most; other systems keep what they sent for about so long.
const OLDEST: Duration = Duration::from_secs(3 * 86_400);
/// How far a look reaches into the time of the one before: clocks differ, and what was under way then had not failed yet.
const OVERLAP: Duration = Duration::from_secs(600);
/// How often a delivery is asked for. With the pauses, that is for some six hours.
const TRIES: u32 = 10;
/// The longest pause between two tries. The first is that between two looks, and each doubles it.
const LONGEST: Duration = Duration::from_secs(3600);
/// Deliveries that are kept in mind.
const MOST: usize = 1000;

/// A delivery that another system says did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// By which the system finds it.
    pub handle: String,
    /// The id that the delivery itself carries.
    pub delivery_id: String,
    /// When it was last tried.
    pub tried: Option<Timestamp>,
    /// What it is.
    pub kind: String,
}

/// What is known of the deliveries of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrape {
    /// What was tried before this is nobody's business.
    from: Timestamp,
    /// What was tried before this was looked at.
    pub seen: Timestamp,
    /// When the system was last asked.
    pub looked: Option<Timestamp>,
    /// Why the last look failed; empty when it did not.
    pub error: String,
    /// What did not arrive, by the id of the delivery.
    waiting: BTreeMap<String, Waiting>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    handle: String,
    kind: String,
    found: Timestamp,
    /// It has failed since it was last asked for.
    failed: bool,
    tries: u32,
    next: Timestamp,
}

impl Scrape {
    /// Of a connection that is used from now on.
    pub fn new(now: Timestamp) -> Self {
        Self { from: now, seen: now, looked: None, error: String::new(), waiting: BTreeMap::new() }
    }

    /// From when on the next look asks.
    pub fn since(&self, now: Timestamp) -> Timestamp {
        self.seen.minus(OVERLAP).max(now.minus(OLDEST)).max(self.from)
    }

    /// Takes what a look that began at this time has found.
    pub fn found(&mut self, mut missed: Vec<Missed>, begun: Timestamp) {
        self.waiting.retain(|_, waiting| waiting.found >= begun.minus(OLDEST));
        (self.seen, self.looked, self.error) = (begun, Some(begun), String::new());
        missed.sort_by_key(|one| one.tried);
        for Missed { handle, delivery_id, tried, kind } in missed {
            if let Some(known) = self.waiting.get_mut(&delivery_id) {
                // Each try of the other system has a handle of its own.
                known.failed |= known.handle != handle;
                known.handle = handle;
            } else if self.waiting.len() < MOST {
                self.waiting.insert(delivery_id, Waiting { handle, kind, found: begun, failed: true, tries: 0, next: begun });
            } else {
                // The rest is looked for again, when there is room.
                self.seen = tried.map_or(self.seen, |tried| tried.min(self.seen));
                return;
            }
        }
    }

    /// Every delivery that is not known to be here.
    pub fn ids(&self) -> Vec<String> {
        self.waiting.keys().cloned().collect()
    }

    /// What is to be asked for now, longest known first.
    pub fn due(&self, now: Timestamp) -> Vec<Missed> {
        let due = self.waiting.iter().filter(|(_, one)| one.failed && one.tries < TRIES && one.next <= now);
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(_, waiting)| waiting.next);
        let missed = |(id, waiting): (&String, &Waiting)| Missed {
            handle: waiting.handle.clone(),
            delivery_id: id.clone(),
            tried: None,
            kind: waiting.kind.clone(),
        };
        due.into_iter().map(missed).collect()
    }

    /// It is here.
    pub fn arrived(&mut self, delivery_id: &str) {
        self.waiting.remove(delivery_id);
    }

    /// It was asked for; `every` is the time between two looks. Answers whether that was for the last time.
    pub fn asked(&mut self, delivery_id: &str, every: Duration, now: Timestamp) -> bool {
        let Some(waiting) = self.waiting.get_mut(delivery_id) else { return false };
        waiting.next = now.plus(every.saturating_mul(1 << waiting.tries.min(16)).min(LONGEST));
        (waiting.tries, waiting.failed) = (waiting.tries + 1, false);
        waiting.tries >= TRIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(300);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros((10_000_000 + seconds) * 1_000_000)
    }

    fn missed(id: &str, tried: i64) -> Missed {
        Missed { handle: format!("/{tried}"), delivery_id: id.to_owned(), tried: Some(at(tried)), kind: "push".to_owned() }
    }

    fn ids(scrape: &Scrape, now: i64) -> Vec<String> {
        scrape.due(at(now)).into_iter().map(|one| one.delivery_id).collect()
    }

    #[test]
    fn looks_overlap_and_reach_back_three_days_at_most() {
        let mut scrape = Scrape::new(at(0));
        assert_eq!(scrape.since(at(300)), at(0), "what was before is not asked for");
        assert_eq!(scrape.since(at(4 * 86_400)), at(86_400));
        scrape.found(Vec::new(), at(3600));
        assert_eq!((scrape.since(at(3900)), scrape.looked), (at(3000), Some(at(3600))));
    }

    #[test]
    fn what_is_missed_is_asked_for_with_growing_pauses_and_not_for_ever() {
        let mut scrape = Scrape::new(at(0));
        scrape.found(vec![missed("a", 100)], at(300));
        let (mut now, mut tried, mut pauses) = (300, 100, Vec::new());
        loop {
            assert_eq!(ids(&scrape, now), ["a"]);
            let last = scrape.asked("a", EVERY, at(now));
            if last {
                break;
            }
            scrape.found(vec![missed("a", tried)], at(now));
            assert_eq!(ids(&scrape, now + 86_400), Vec::<String>::new(), "nobody says that it has failed again");
            tried = now;
            scrape.found(vec![missed("a", tried)], at(now));
            let next = (1..).map(|minutes| now + minutes * 60).find(|then| !ids(&scrape, *then).is_empty()).expect("some day");
            pauses.push((next - now) / 60);
            assert_eq!(scrape.due(at(next))[0].handle, format!("/{now}"));
            now = next;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60, 60, 60, 60]);
        scrape.found(vec![missed("a", now)], at(now + 300));
        assert_eq!(ids(&scrape, now + 86_400), Vec::<String>::new(), "enough");
        scrape.found(Vec::new(), at(now + 4 * 86_400));
        assert_eq!(scrape.waiting.len(), 0, "nobody sends it any more");
    }

    #[test]
    fn what_has_arrived_is_not_asked_for_and_what_has_no_room_is_looked_for_again() {
        let mut scrape = Scrape::new(at(0));
        let many = (0..i64::try_from(MOST).expect("small") + 2).map(|number| missed(&format!("d{number}"), number)).collect();
        scrape.found(many, at(2000));
        assert_eq!((scrape.due(at(2000)).len(), scrape.seen), (MOST, at(1000)));
        scrape.arrived("d0");
        scrape.found(vec![missed("d1000", 1000), missed("d1001", 1001)], at(2300));
        assert_eq!((scrape.due(at(2300)).len(), scrape.seen), (MOST, at(1001)));
    }
}
