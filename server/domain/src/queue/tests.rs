//! Fair shares, class order and the end of every wait, as properties over arrivals, weights and classes.

use proptest::prelude::*;

use super::*;

fn uid(number: usize) -> Uid {
    Uid(uuid::Uuid::from_u128(number as u128))
}

fn at(second: i64) -> Timestamp {
    // Past the patience of every class after 1970, as all times are.
    Timestamp::from_micros((1_000_000 + second) * 1_000_000)
}

fn waiting(tenant: usize, run: usize, class: Class, created: i64) -> Waiting {
    let place = class.place(at(created));
    Waiting { tenant: TenantScope(uid(tenant)), run: uid(run), class, place, share: Share::new(1) }
}

/// A pool with one runner: gives away the next run, as the service does.
#[derive(Default)]
struct Pool {
    waiting: Vec<Waiting>,
    shares: BTreeMap<Uid, Share>,
    clock: i64,
}

impl Pool {
    fn share(&mut self, tenant: usize, weight: u32) {
        self.shares.insert(uid(tenant), Share::new(weight));
    }

    fn give(&mut self, now: Timestamp) -> Option<Waiting> {
        self.waiting.sort_by_key(|one| (one.tenant.0, one.place, one.run));
        let mut heads: Vec<Waiting> = self.waiting.clone();
        heads.dedup_by_key(|one| one.tenant);
        for head in &mut heads {
            head.share = *self.shares.entry(head.tenant.0).or_insert(Share::new(1));
        }
        let taken = heads[next(&heads, self.clock, now)?];
        let share = taken.share.after(taken.class, self.clock);
        self.shares.insert(taken.tenant.0, share);
        self.clock = self.clock.max(share.began);
        self.waiting.retain(|one| one.run != taken.run);
        Some(taken)
    }
}

#[test]
fn classes_have_an_order_among_runs_of_one_age_and_age_comes_before_it() {
    let order = |runs: &[(usize, Class, i64)]| {
        let waiting = runs.iter().enumerate().map(|(run, (tenant, class, created))| waiting(*tenant, run, *class, *created));
        let mut pool = Pool { waiting: waiting.collect(), ..Pool::default() };
        std::iter::from_fn(|| pool.give(at(7200))).map(|taken| taken.run.0.as_u128()).collect::<Vec<_>>()
    };
    use Class::{Apply, Drift, Look, Plan, Recovery};
    let now = 7200;
    // What it shows; tenant, class and creation of each run; the order.
    type Row<'a> = (&'a str, &'a [(usize, Class, i64)], &'a [u128]);
    let table: [Row<'_>; 7] = [
        (
            "one tenant, one age",
            &[(1, Drift, now), (1, Look, now), (1, Plan, now), (1, Apply, now), (1, Recovery, now)],
            &[4, 3, 2, 1, 0],
        ),
        ("one tenant, one class", &[(1, Plan, now), (1, Plan, now - 1), (1, Plan, now - 2)], &[2, 1, 0]),
        ("an old plan before a new apply", &[(1, Apply, now), (1, Plan, now - 16 * 60)], &[1, 0]),
        ("a check that has waited for an hour before everything new", &[(1, Apply, now), (1, Drift, 0)], &[1, 0]),
        ("many tenants, one age", &[(1, Drift, now), (2, Plan, now), (3, Apply, now), (4, Recovery, now)], &[3, 2, 1, 0]),
        ("a check lets all plans of another go first", &[(1, Drift, now), (2, Plan, now), (2, Plan, now)], &[1, 2, 0]),
        ("a check that has waited for long has a share", &[(1, Drift, 0), (2, Plan, now), (2, Plan, now)], &[0, 1, 2]),
    ];
    for (what, runs, expected) in table {
        assert_eq!(order(runs), expected, "{what}");
    }
}

#[test]
fn many_applies_that_were_approved_at_once_keep_nobody_from_planning() {
    let applies = (0..500).map(|run| waiting(1, run, Class::Apply, 0));
    let plans = (2..12).map(|tenant| waiting(tenant, 1000 + tenant, Class::Plan, 100));
    let mut pool = Pool { waiting: applies.chain(plans).collect(), ..Pool::default() };
    let first: Vec<_> = (0..12).filter_map(|_| pool.give(at(200))).collect();
    assert_eq!(first.iter().filter(|taken| taken.class == Class::Plan).count(), 10, "{first:?}");
}

#[test]
fn who_comes_back_after_a_pause_has_saved_up_two_turns_and_no_more() {
    let mut pool = Pool { waiting: (0..1000).map(|run| waiting(1, run, Class::Plan, 0)).collect(), ..Pool::default() };
    assert!((0..500).all(|_| pool.give(at(1)).is_some()));
    pool.waiting.extend((0..20).map(|run| waiting(2, 5000 + run, Class::Plan, 2)));
    let next: Vec<_> = (0..10).filter_map(|_| pool.give(at(2))).map(|taken| taken.tenant.0.0.as_u128()).collect();
    assert_eq!(next.iter().filter(|tenant| **tenant == 2).count(), 6, "{next:?}");
}

#[test]
fn a_start_is_predicted_from_the_places_and_what_they_do() {
    let minute = Duration::from_secs(60);
    let table = [
        // Position, free places, when the others began, when it begins.
        (1, 1, vec![], Some(at(0))),
        (2, 1, vec![], Some(at(60))),
        (1, 0, vec![at(-20)], Some(at(40))),
        (3, 0, vec![at(-20), at(-50)], Some(at(70))),
        (1, 0, vec![at(-300)], Some(at(0))),
        (4, 2, vec![at(-30)], Some(at(60))),
        (1, 0, vec![], None),
    ];
    for (position, free, begun, expected) in table {
        assert_eq!(start(position, free, &begun, minute, at(0)), expected, "{position} with {free} free and {begun:?}");
    }
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::Apply), Just(Class::Plan), Just(Class::Look), Just(Class::Drift)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Goyal's bound: while two tenants both wait, what they were given for each unit of weight differs by one job of each at most.
    #[test]
    fn shares_follow_the_weights(weights in prop::collection::vec(1..=MAX_WEIGHT, 2..12), others in 0..60_usize, rounds in 20..400_usize) {
        let mut pool = Pool::default();
        for (tenant, weight) in weights.iter().enumerate() {
            pool.share(tenant, *weight);
            pool.waiting.extend((0..rounds).map(|run| waiting(tenant, tenant * rounds + run, Class::Plan, 0)));
        }
        // Visitors come and go meanwhile.
        pool.waiting.extend((0..others).map(|run| waiting(100 + run, 1_000_000 + run, Class::Plan, 0)));
        let mut given = vec![0_i64; weights.len()];
        for _ in 0..rounds {
            let taken = pool.give(at(1)).expect("they all wait");
            if let Some(given) = given.get_mut(taken.tenant.0.0.as_u128() as usize) {
                *given += 1;
            }
            for (one, other) in (0..weights.len()).flat_map(|one| (0..one).map(move |other| (one, other))) {
                let (one_has, other_has) = (given[one] * (TURN / i64::from(weights[one])), given[other] * (TURN / i64::from(weights[other])));
                let bound = TURN / i64::from(weights[one]) + TURN / i64::from(weights[other]);
                prop_assert!((one_has - other_has).abs() <= bound, "{:?} of {:?}", given, weights);
            }
        }
    }

    /// However much the others bring, in whatever class, a run is taken after a number of turns that does not depend on it.
    #[test]
    fn every_wait_has_an_end(
        kind in class(), weights in prop::collection::vec(1..=8_u32, 1..8),
        arrivals in prop::collection::vec((0..8_usize, class(), 0..3_usize), 600),
    ) {
        let mut pool = Pool::default();
        for (tenant, weight) in weights.iter().enumerate() {
            pool.share(tenant, *weight);
        }
        let (mine, mut run) = (uid(1_000_000), 0);
        pool.waiting.push(Waiting { run: mine, ..waiting(99, 1_000_000, kind, 0) });
        // The clock of the others is somewhere, and all of them have work.
        pool.clock = 7 * TURN;
        let patience = i64::try_from(kind.patience().as_secs()).expect("short");
        // One job each minute; a check for drift waits for its patience first.
        let turns: usize = weights.iter().map(|weight| 1 + 4 * *weight as usize).sum();
        let bound = if kind == Class::Drift { turns + patience as usize / 60 } else { turns };
        for (minute, (tenant, class, more)) in arrivals.into_iter().enumerate().take(bound + 1) {
            let now = minute as i64 * 60;
            for _ in 0..=more {
                run += 1;
                pool.waiting.push(waiting(tenant % weights.len(), run, class, now));
            }
            let taken = pool.give(at(now)).expect("there is work");
            if taken.run == mine {
                return Ok(());
            }
        }
        prop_assert!(false, "{:?} still waits after {} turns", kind, bound);
    }

    /// The position that is told is the one that the run then has.
    #[test]
    fn positions_are_those_in_which_runs_are_given(
        weights in prop::collection::vec(1..=5_u32, 1..6), runs in prop::collection::vec((0..6_usize, class(), 0..5000_i64), 1..60), clock in 0..9_i64,
    ) {
        let mut pool = Pool { clock: clock * TURN, ..Pool::default() };
        for (tenant, weight) in weights.iter().enumerate() {
            pool.share(tenant, *weight);
        }
        for (run, (tenant, class, created)) in runs.iter().enumerate() {
            let tenant = tenant % weights.len();
            pool.waiting.push(Waiting { share: Share::new(weights[tenant]), ..waiting(tenant, run, *class, *created) });
        }
        let (all, clock) = (pool.waiting.clone(), pool.clock);
        for expected in 1..=all.len() {
            let taken = pool.give(at(5000)).expect("it waits");
            prop_assert_eq!(position(all.iter().copied(), taken.run, clock, at(5000)), Some(expected));
        }
        prop_assert_eq!(position(all, uid(77_777), clock, at(5000)), None);
    }
}
