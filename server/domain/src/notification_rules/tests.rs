use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    console::Console,
    events::{Announced, Event},
    notifications::{Outcome, SendState, TRIED},
};

const TENANT: &str = "tenants/acme";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn time(text: &str) -> Timestamp {
    Timestamp::from_micros(text.parse::<jiff::Timestamp>().expect(text).as_microsecond())
}

fn terms() -> Terms {
    let input = json!({"channel": "C0OPS", "text": "${notification.count} of ${notification.group}: ${event.data.phase}"});
    let message = Message {
        connection: "tenants/acme/connections/chat".parse().expect("valid"),
        operation: "messages.post".to_owned(),
        input: input.as_object().cloned().expect("an object"),
    };
    Terms {
        below: TENANT.to_owned(),
        kinds: vec!["run.moved".to_owned()],
        filter: String::new(),
        group_by: String::new(),
        wait: Duration::ZERO,
        dedup_window: Duration::ZERO,
        digest_cron: String::new(),
        quiet_hours: Vec::new(),
        time_zone: String::new(),
        state_change: None,
        message,
        escalations: Vec::new(),
    }
}

fn compile(terms: &Terms) -> Compiled {
    let mut wrong = Violations::new();
    let compiled = terms.compile(TENANT, "notification_rule", &mut wrong);
    wrong.finish().expect("terms that are right");
    compiled
}

fn event(kind: &str, phase: &str, seconds: i64) -> Logged {
    let uid = Uid(uuid::Uuid::from_u128(7));
    let announced = Announced {
        event: Event::new(kind, "tenants/acme/projects/shop", uid, 2).with(json!({"phase": phase})),
        time: at(seconds),
        principal: String::new(),
        request_id: String::new(),
    };
    Logged { position: 1, uid, tenant: uid, announced }
}

/// Plays events into a rule as the server does; answers when somebody was told how much of what.
fn play(terms: &Terms, events: &[(i64, &str)], until: i64) -> Vec<(i64, String)> {
    let compiled = compile(terms);
    let rule = "tenants/acme/notificationRules/ops".parse().expect("valid");
    let mut group = Group::default();
    let mut told = Vec::new();
    let mut events = events.iter().peekable();
    for now in 0..=until {
        while let Some((_, phase)) = events.next_if(|(time, _)| *time <= now) {
            let logged = event("run.moved", phase, now);
            if compiled.wants(&logged) {
                compiled.notice(&mut group, &events::facts(&logged), logged.announced.time, at(now));
            }
        }
        if group.gathered.as_ref().is_some_and(|gathered| gathered.due <= at(now)) {
            let one = compiled
                .tell(&mut group, &rule, Uid(uuid::Uuid::from_u128(1)), at(now), &Console::default())
                .expect("something")
                .notification;
            let text = one.sends[0].input["text"].as_str().expect("text").to_owned();
            told.push((now, format!("{text} +{}", one.suppressed_count)));
        }
    }
    told
}

#[test]
fn a_storm_is_one_message_with_a_count() {
    let storm: Vec<(i64, &str)> = (0..10_000).map(|index| (index / 200, "FAILED")).collect();
    let once = Terms { wait: Duration::from_secs(60), ..terms() };
    assert_eq!(play(&once, &storm, 500), [(60, "10000 of : FAILED +0".to_owned())]);
    // The first at once, and what is kept back is counted in the next one.
    let window = Terms { dedup_window: Duration::from_secs(100), ..terms() };
    let told = play(&window, &[(0, "A"), (1, "B"), (99, "C"), (100, "D"), (101, "E")], 300);
    assert_eq!(told, [(0, "1 of : A +0".to_owned()), (100, "1 of : D +2".to_owned())]);
}

#[test]
fn state_is_told_when_it_changes_and_never_again() {
    let change =
        StateChange { raised: "event.data.phase == 'FAILED'".to_owned(), recovered: "event.data.phase == 'DONE'".to_owned() };
    let terms = Terms { state_change: Some(change), wait: Duration::from_secs(10), ..terms() };
    let told = play(
        &terms,
        &[(0, "DONE"), (5, "QUEUED"), (20, "FAILED"), (25, "FAILED"), (40, "FAILED"), (60, "DONE"), (90, "DONE")],
        200,
    );
    assert_eq!(told, [(30, "2 of : FAILED +0".to_owned()), (70, "1 of : DONE +0".to_owned())]);
    // What comes back before anybody was told is told to nobody.
    let told = play(&terms, &[(20, "FAILED"), (25, "DONE"), (50, "FAILED"), (61, "DONE"), (65, "FAILED")], 200);
    assert_eq!(told, [(60, "1 of : FAILED +0".to_owned())]);
}

#[test]
fn digests_come_on_time_and_quiet_hours_are_kept() {
    let daily = Terms { digest_cron: "0 8 * * *".to_owned(), time_zone: "Europe/Berlin".to_owned(), ..terms() };
    assert_eq!(compile(&daily).due(time("2026-03-28T09:00:00Z")), time("2026-03-29T06:00:00Z"), "summer has begun");
    let quiet = |start_cron: &str, hours: u64| QuietHours {
        start_cron: start_cron.to_owned(),
        duration: Duration::from_secs(hours * 3600),
    };
    let nights = Terms { quiet_hours: vec![quiet("0 22 * * *", 8), quiet("0 6 * * sat,sun", 24)], ..terms() };
    let compiled = compile(&nights);
    for (now, due) in [
        ("2026-11-18T12:00:00Z", "2026-11-18T12:00:00Z"),
        ("2026-11-18T22:00:00Z", "2026-11-19T06:00:00Z"),
        ("2026-11-19T05:59:59Z", "2026-11-19T06:00:00Z"),
        ("2026-11-19T06:00:00Z", "2026-11-19T06:00:00Z"),
        // A night before a weekend goes on until Monday morning.
        ("2026-11-20T23:00:00Z", "2026-11-23T06:00:00Z"),
    ] {
        assert_eq!(compiled.due(time(now)), time(due), "{now}");
    }
    let always = Terms { quiet_hours: vec![quiet("0 * * * *", 2)], ..terms() };
    assert!(compile(&always).due(at(0)) > at(0), "comes to an end");
}

#[test]
fn escalations_follow_until_somebody_has_seen_it_or_it_is_over() {
    let other = Message { operation: "messages.page".to_owned(), ..terms().message };
    let after = |minutes: u64| Escalation { after: Duration::from_secs(minutes * 60), message: other.clone() };
    let change =
        StateChange { raised: "event.data.phase == 'FAILED'".to_owned(), recovered: "event.data.phase == 'DONE'".to_owned() };
    let terms = Terms { escalations: vec![after(5), after(15)], state_change: Some(change), ..terms() };
    let compiled = compile(&terms);
    let rule = "tenants/acme/notificationRules/ops".parse().expect("valid");
    let mut group = Group::default();
    let mut tell = |phase: &str, uid: u128, now: i64| {
        let logged = event("run.moved", phase, now);
        compiled.notice(&mut group, &events::facts(&logged), at(now), at(now));
        compiled.tell(&mut group, &rule, Uid(uuid::Uuid::from_u128(uid)), at(now), &Console::default()).expect("something")
    };
    let mut raised = tell("FAILED", 1, 0);
    assert_eq!((raised.over, raised.notification.sends.len()), (None, 3));
    let notification = &mut raised.notification;
    notification.sends[0].tried(Outcome::Sent, 0.5, at(1));
    assert_eq!((notification.state(), notification.due(), notification.next()), (SendState::Sent, Some(at(300)), Some(1)));
    assert_eq!(
        (notification.key(0), notification.key(1) == notification.key(0)),
        (format!("{}.0", notification.name.notification), false)
    );
    let mut seen = notification.clone();
    assert!(seen.acknowledge("tenants/acme/users/ada", at(2)) && !seen.acknowledge("tenants/acme/users/bob", at(3)));
    assert_eq!((seen.due(), seen.sends[2].state), (None, SendState::Cancelled));
    assert!(!seen.retry(at(4)), "nothing was lost");
    let recovered = tell("DONE", 2, 100);
    assert_eq!((recovered.over, recovered.notification.sends.len()), (Some(Uid(uuid::Uuid::from_u128(1))), 1));
}

#[test]
fn a_message_is_tried_for_a_day_unless_it_makes_no_sense() {
    let connection: ConnectionName = "tenants/acme/connections/chat".parse().expect("valid");
    let mut send = Send::new(connection.clone(), "messages.post".to_owned(), Value::Null, at(0));
    let mut now = at(0);
    while let Some(due) = send.due {
        assert!(due >= now);
        now = due;
        send.tried(Outcome::Later("down".to_owned(), Some(Duration::from_secs(90))), 0.5, now);
    }
    assert_eq!(send.state, SendState::Failed);
    assert!(now.since(at(0)) <= TRIED && send.attempt_count > 5 && send.error.contains("down"), "{send:?}");
    for (outcome, state) in [
        (Outcome::Skipped("disabled".to_owned()), SendState::Skipped),
        (Outcome::Failed("no such channel".to_owned()), SendState::Failed),
    ] {
        let mut send = Send::new(connection.clone(), "messages.post".to_owned(), Value::Null, at(0));
        send.tried(outcome, 0.5, at(1));
        assert_eq!((send.state, send.due), (state, None));
    }
}

#[test]
fn rules_are_asked_about_what_they_may_be_and_nothing_tells_of_itself() {
    let all = compile(&Terms { kinds: Vec::new(), ..terms() });
    let named = compile(&Terms { kinds: vec!["connection.*".to_owned(), RECEIVED.to_owned()], ..terms() });
    for (kind, by_all, by_named) in [
        ("run.moved", true, false),
        ("notification.sent", false, false),
        ("notification_rule.created", true, false),
        (RECEIVED, false, true),
    ] {
        assert_eq!((all.wants(&event(kind, "DONE", 0)), named.wants(&event(kind, "DONE", 0))), (by_all, by_named), "{kind}");
    }
    let grouped = compile(&Terms { group_by: "${event.data.phase}".to_owned(), ..terms() });
    assert_eq!(grouped.group(&events::facts(&event("run.moved", "DONE", 0))), "DONE");
    let long = "ä".repeat(MAX_GROUP);
    assert!(grouped.group(&events::facts(&event("run.moved", &long, 0))).len() <= MAX_GROUP);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let mut wrong = Violations::new();
    let quiet = QuietHours { start_cron: "61 * * * *".to_owned(), duration: Duration::ZERO };
    let far = Escalation { after: Duration::ZERO, message: terms().message };
    let mut message = terms().message;
    message.input.insert("text".to_owned(), "${event.nope}".into());
    let terms = Terms {
        below: "tenants/other".to_owned(),
        kinds: vec!["Run".to_owned()],
        filter: "event.".to_owned(),
        group_by: "${".to_owned(),
        wait: MAX_WAIT * 2,
        dedup_window: MAX_WINDOW * 2,
        digest_cron: "never".to_owned(),
        quiet_hours: vec![quiet],
        time_zone: String::new(),
        state_change: Some(StateChange { raised: String::new(), recovered: "true".to_owned() }),
        message,
        escalations: vec![far],
    };
    terms.compile(TENANT, "r", &mut wrong);
    let error = wrong.finish().expect_err("much is wrong");
    let fields: Vec<&str> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
    let expected = [
        "r.below",
        "r.kinds[0]",
        "r.filter",
        "r.group_by",
        "r.wait",
        "r.dedup_window",
        "r.digest_cron",
        "r.quiet_hours[0].duration",
        "r.quiet_hours[0].start_cron",
        "r.state_change.raised",
        "r.dedup_window",
        "r.message.input.text",
        "r.escalations[0].after",
    ];
    assert_eq!(fields, expected);
}

proptest! {
    #[test]
    fn every_event_is_told_of_or_counted_once(
        gaps in prop::collection::vec(0i64..30, 1..60), wait in 0u64..40, window in 0u64..80,
    ) {
        let terms = Terms { wait: Duration::from_secs(wait), dedup_window: Duration::from_secs(window), ..terms() };
        let compiled = compile(&terms);
        let rule = "tenants/acme/notificationRules/ops".parse().expect("valid");
        let mut group = Group::default();
        let (mut now, mut told, mut last) = (0, 0, None::<Timestamp>);
        for gap in &gaps {
            now += gap;
            let logged = event("run.moved", "FAILED", now);
            compiled.notice(&mut group, &events::facts(&logged), at(now), at(now));
            if let Some(due) = group.gathered.as_ref().map(|gathered| gathered.due).filter(|due| *due <= at(now)) {
                prop_assert!(last.is_none_or(|last| due.since(last) >= Duration::from_secs(window)), "too soon after the last one");
                let one = compiled.tell(&mut group, &rule, Uid(uuid::Uuid::nil()), at(now), &Console::default()).expect("something").notification;
                told += one.count + one.suppressed_count;
                last = Some(at(now));
            }
        }
        let waiting = group.gathered.as_ref().map_or(0, |gathered| gathered.count) + group.suppressed;
        prop_assert_eq!(told + waiting, gaps.len() as u64);
    }
}
