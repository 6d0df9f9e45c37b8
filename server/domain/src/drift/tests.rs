//! The life of items, as tables and as properties over any sequence of checks.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use serde_json::Map;

use super::*;
use crate::{
    access::Principal,
    deployments::Deployment,
    resource::{Described, Labels, Meta},
    time::Uid,
};

fn now(day: i64) -> Timestamp {
    Timestamp::from_day(day)
}

fn uid(number: u128) -> Uid {
    Uid(uuid::Uuid::from_u128(number))
}

fn ada() -> Principal {
    "tenants/acme/users/ada".parse().expect("valid")
}

fn deployment() -> Deployment {
    let labels = Labels::from([("team".to_owned(), "web".to_owned())]);
    let name = "tenants/acme/projects/shop/environments/dev/deployments/web".parse().expect("valid");
    let meta = Meta::new(uid(1), Described { display_name: String::new(), labels }, "tenants/acme/users/ada", now(0));
    let version = "tenants/acme/blueprints/greeting/versions/1.0.0".parse().expect("valid");
    let new = Deployment::new(name, meta, version, Map::new());
    Deployment { state: DeploymentState::Active, observed_revision: 1, state_serial: 1, ..new }
}

fn changed(address: &str, path: &str, after: &str) -> Drifted {
    let attributes = vec![(path.to_owned(), Values::new("\"made\"", after, false))];
    Drifted { address: address.to_owned(), kind: "file".to_owned(), gone: false, attributes }
}

fn exception(number: u128, matcher: Matcher, until: i64) -> DriftException {
    DriftException {
        name: format!("tenants/acme/driftExceptions/{}", uid(number)).parse().expect("valid"),
        matcher,
        reason: "planned".to_owned(),
        owner: ada(),
        expire_time: now(until),
        create_time: now(0),
        creator: ada(),
    }
}

/// The items of one deployment, check after check.
#[derive(Default)]
struct Story {
    items: Vec<Known>,
    exceptions: Vec<DriftException>,
    cause: Option<(Uid, BTreeSet<String>)>,
    uids: u128,
}

impl Story {
    fn check(&mut self, day: i64, found: Vec<Drifted>) -> Vec<(String, News)> {
        let findings = Findings::of(found);
        let deployment = deployment();
        let check = Check {
            deployment: &deployment,
            run: uid(1000),
            exceptions: &self.exceptions,
            cause: self.cause.clone(),
            now: now(day),
        };
        let uids = &mut self.uids;
        let outcome = reconcile(&check, &findings, self.items.clone(), || {
            *uids += 1;
            uid(100 + *uids)
        });
        let mut news = Vec::new();
        for Written { item, values, seen, news: told } in outcome.written {
            news.extend(told.map(|told| (item.address.clone(), told)));
            match self.items.iter_mut().find(|(known, _)| known.uid() == item.uid()) {
                Some(known) => {
                    assert_eq!(Some(known.0.version), seen, "the version that is compared");
                    *known = (item, values);
                }
                None => {
                    assert_eq!(seen, None);
                    self.items.push((item, values));
                }
            }
        }
        news
    }

    fn only(&self) -> &DriftItem {
        assert_eq!(self.items.len(), 1, "{:?}", self.items);
        &self.items[0].0
    }
}

#[test]
fn an_item_is_told_once_lives_and_comes_back() {
    let mut story = Story::default();
    let motd = || vec![changed("file.motd", "content", "\"edited\"")];
    assert_eq!(story.check(1, motd()), [("file.motd".to_owned(), News::Found)]);
    assert_eq!((story.only().class, story.only().state, story.only().count), (DriftClass::New, DriftItemState::Open, 1));
    story.items[0].0.acknowledge(&ada(), "on it".to_owned(), now(1)).expect("it is open");
    // Another text of the same shape is the same item, and the newest value is shown.
    assert_eq!(story.check(2, vec![changed("file.motd", "content", "\"edited again\"")]), []);
    assert_eq!(
        (story.only().class, story.only().state, story.only().count),
        (DriftClass::Known, DriftItemState::Acknowledged, 2)
    );
    assert_eq!(story.items[0].1.after, "\"edited again\"");
    assert_eq!(story.check(3, vec![]), [("file.motd".to_owned(), News::Resolved)]);
    assert_eq!((story.only().state, story.only().resolve_time), (DriftItemState::Resolved, Some(now(3))));
    assert_eq!(story.check(4, vec![]), []);
    assert_eq!(story.check(5, motd()), [("file.motd".to_owned(), News::Reopened)]);
    assert_eq!((story.only().state, story.only().resolve_time), (DriftItemState::Reopened, None));
    assert_eq!(story.only().first_seen_time, now(1));
    assert_eq!(story.check(6, motd()), []);
    // A value of another shape is another item, and the first one is gone.
    let told = story.check(7, vec![changed("file.motd", "content", "[1]")]);
    assert_eq!(told.iter().map(|(_, news)| *news).collect::<Vec<_>>(), [News::Found, News::Resolved]);
}

#[test]
fn exceptions_silence_what_they_cover_for_as_long_as_they_last() {
    let of = |matcher: Matcher| exception(1, matcher, 10);
    let all = Matcher::default;
    let value = changed("file.motd", "content", "\"edited\"");
    // Matcher, and whether it covers the change above.
    let table = [
        (Matcher { deployment: "*/environments/dev/deployments/*".to_owned(), ..all() }, true),
        (Matcher { deployment: "*/environments/prod/deployments/*".to_owned(), ..all() }, false),
        (Matcher { labels: Labels::from([("team".to_owned(), "web".to_owned())]), ..all() }, true),
        (Matcher { labels: Labels::from([("team".to_owned(), "db".to_owned())]), ..all() }, false),
        (Matcher { kind: "file".to_owned(), ..all() }, true),
        (Matcher { kind: "http".to_owned(), ..all() }, false),
        (Matcher { address: "file.*".to_owned(), path: "content".to_owned(), ..all() }, true),
        (Matcher { address: "file.*".to_owned(), path: "mode".to_owned(), ..all() }, false),
        (Matcher { value: "edit*".to_owned(), ..all() }, true),
        (Matcher { value: "other".to_owned(), ..all() }, false),
        (Matcher { kind: "file".to_owned(), pinned: true, ..all() }, false),
    ];
    for (matcher, covers) in table {
        let mut story = Story { exceptions: vec![of(matcher.clone())], ..Story::default() };
        let told = story.check(1, vec![value.clone()]);
        assert_eq!(told.is_empty(), covers, "{matcher:?}");
        assert_eq!(story.only().state == DriftItemState::Accepted, covers, "{matcher:?}");
    }

    let mut story = Story::default();
    story.check(1, vec![value.clone()]);
    let item = story.only().clone();
    let accepted = of(Matcher::exactly(&item, true));
    assert!(!accepted.matcher.is_everything() && Matcher { path: "**".to_owned(), ..all() }.is_everything());
    story.items[0].0.cover(accepted.uid(), now(1));
    story.exceptions = vec![accepted];
    assert_eq!(story.check(2, vec![value.clone()]), []);
    assert_eq!((story.only().class, story.only().state), (DriftClass::Accepted, DriftItemState::Accepted));
    let other = changed("file.motd", "content", "\"somebody else's\"");
    assert_eq!(story.check(3, vec![other]), [("file.motd".to_owned(), News::Reopened)], "another value was not accepted");

    let mut story = Story { exceptions: vec![of(Matcher { kind: "file".to_owned(), ..all() })], ..Story::default() };
    assert_eq!(story.check(9, vec![value.clone()]), []);
    assert_eq!(story.check(10, vec![value]), [("file.motd".to_owned(), News::Reopened)], "it has ended");
    assert_eq!(expiry(now(1), now(1)), Err("a time in the future".to_owned()));
    assert!(expiry(now(366), now(1)).is_ok() && expiry(now(368), now(1)).is_err());
}

#[test]
fn what_a_run_of_ours_left_undone_is_expected_and_no_reason_for_another() {
    let mut story = Story { cause: Some((uid(7), BTreeSet::from(["file.motd".to_owned()]))), ..Story::default() };
    let found = || vec![changed("file.motd", "content", "\"half\""), changed("file.other", "content", "\"edited\"")];
    assert_eq!(story.check(1, found()), [("file.other".to_owned(), News::Found)]);
    let motd = story.items.iter().map(|(item, _)| item).find(|item| item.address == "file.motd").expect("it is kept");
    assert_eq!((motd.class, motd.cause, motd.is_alarming()), (DriftClass::Expected, Some(uid(7)), false));
    let set = remedy_set(story.items.iter().map(|(item, _)| item));
    story.items.retain(|(item, _)| item.address == "file.other");
    assert_eq!(remedy_set(story.items.iter().map(|(item, _)| item)), set, "only the other one asks for somebody");
}

#[test]
fn a_check_that_finds_more_than_is_kept_takes_nothing_to_be_gone() {
    let many =
        |from: usize| (from..from + 600).map(|n| changed(&format!("file.f{n:04}"), "content", "\"x\"")).collect::<Vec<_>>();
    let findings = Findings::of(many(0));
    assert_eq!((findings.items.len(), findings.left_out), (500, 100));
    let mut story = Story::default();
    assert_eq!(story.check(1, many(0)).len(), 500);
    assert!(story.check(2, many(300)).iter().all(|(_, news)| *news == News::Found));
    let long = Values::new("", &"ä".repeat(5000), false);
    assert!(long.cut && long.after.chars().count() == 2048);
    let gone = Findings::of(vec![Drifted { gone: true, ..changed("file.motd", "content", "") }]);
    assert_eq!((gone.items.len(), gone.items[0].path.as_str()), (1, ""));
    assert!(!format!("{long:?}").contains('ä'), "values are not in logs");
}

#[test]
fn only_what_is_there_is_acknowledged_and_accepted() {
    let mut story = Story::default();
    story.check(1, vec![changed("file.motd", "content", "1")]);
    story.check(2, vec![]);
    let mut item = story.only().clone();
    assert_eq!(item.acknowledge(&ada(), String::new(), now(3)).expect_err("resolved").reason(), crate::Reason::StateNotAllowed);
    assert!(item.expect_acceptable().is_err());
    let version = item.version;
    item.assign(Some(Some(ada())), Some("OPS-1".to_owned()), now(3));
    item.assign(None, Some("OPS-1".to_owned()), now(4));
    assert_eq!((item.version, item.owner, item.ticket.as_str()), (version + 1, Some(ada()), "OPS-1"));
}

proptest! {
    /// Whatever is found in whatever order: each thing is one item, told once for each time it appears, and what is not seen is
    /// resolved.
    #[test]
    fn each_appearance_is_told_once(checks in prop::collection::vec(prop::collection::btree_set(0_u8..6, 0..6), 1..20)) {
        let mut story = Story::default();
        let mut before = BTreeSet::new();
        let mut ever = BTreeSet::new();
        for (day, seen) in checks.into_iter().enumerate() {
            let found = seen.iter().map(|n| changed(&format!("file.f{n}"), "content", &n.to_string())).collect();
            let told = story.check(i64::try_from(day).expect("small"), found);
            let of = |news: News| told.iter().filter(|(_, told)| *told == news).map(|(address, _)| address.clone()).collect::<BTreeSet<_>>();
            let address = |n: &u8| format!("file.f{n}");
            prop_assert_eq!(of(News::Found), seen.difference(&ever).map(address).collect());
            prop_assert_eq!(of(News::Reopened), seen.difference(&before).filter(|n| ever.contains(n)).map(address).collect());
            prop_assert_eq!(of(News::Resolved), before.difference(&seen).map(address).collect());
            ever.extend(seen.iter().copied());
            prop_assert_eq!(story.items.len(), ever.len());
            let open: BTreeSet<_> = story.items.iter().filter(|(item, _)| item.is_alarming()).map(|(item, _)| item.address.clone()).collect();
            prop_assert_eq!(open, seen.iter().map(address).collect());
            before = seen;
        }
    }
}

#[test]
fn an_exception_lasts_a_year_at_most() {
    let begin = now(0);
    for (days, right) in [(1, true), (366, true), (367, false), (4000, false)] {
        let end = begin.plus(Duration::from_secs(days * 86_400));
        assert_eq!(expiry(end, begin).is_ok(), right, "{days}");
    }
}
