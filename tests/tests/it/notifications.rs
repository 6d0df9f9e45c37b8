//! People are told of what happens: once, when it is time, with a count, and again when nobody has seen it.

use std::time::{Duration, Instant};

use freehold::{Client, CreateNotificationRule, Notification, NotificationAlarm, NotificationMessage, NotificationSendState};
use freehold_fakes::{FakeSlack, Fault, Receiver, Reply};
use freehold_tests::{Database, Installation, armed, eventually, until};
use futures::future::join_all;
use serde_json::json;

use crate::{
    connections::{PRIVATE, SECRET, slack, trusting, world},
    faults::Faulty as _,
};

/// Who changes how much at once, in the storm.
const WRITERS: usize = 20;
const CHANGES: usize = 500;

/// A message to the channel of those who are on call.
fn post(text: &str) -> NotificationMessage {
    NotificationMessage::new("chat", "messages.post").input("channel", "C0ALERTS").input("text", text)
}

/// A rule on what happens to projects.
fn rule(acme: &Client, name: &str, message: NotificationMessage) -> CreateNotificationRule {
    acme.notification_rules().create(name, message).kinds(["project.*"])
}

async fn notifications(acme: &Client, rule: &str) -> Vec<Notification> {
    let mut all = acme.notification_rules().notifications(rule).list().collect_up_to(1000).await.expect("a list");
    all.reverse();
    all
}

/// Waits until a rule has told so often that its newest notification is in this state.
async fn told(acme: &Client, rule: &str, count: usize, state: NotificationSendState) -> Vec<Notification> {
    eventually("notifications", || async {
        let all = notifications(acme, rule).await;
        if all.len() >= count && all.iter().all(|one| one.state == state) { Ok(all) } else { Err(all) }
    })
    .await
}

fn texts(slack: &FakeSlack) -> Vec<String> {
    slack.messages().iter().filter_map(|message| message["text"].as_str().map(str::to_owned)).collect()
}

both_databases!(a_storm_is_one_message_with_a_count);

async fn a_storm_is_one_message_with_a_count(database: Database) {
    const WAIT: Duration = Duration::from_secs(30);
    let (world, chat) = (world(database).await, FakeSlack::start().await);
    let acme = &world.admin;
    slack(acme, &chat).await;
    join_all((0..WRITERS).map(|n| acme.projects().create(format!("p{n}")).send())).await.into_iter().for_each(|made| {
        made.expect("a project");
    });
    let gathered = rule(acme, "gathered", post("${notification.count} changes, the last of ${event.resource}"));
    gathered.kinds(["project.updated"]).wait(WAIT).send().await.expect("a rule");
    let at_once = rule(acme, "at-once", post("${event.kind}")).kinds(["project.updated"]);
    at_once.dedup_window(Duration::from_secs(3600)).send().await.expect("a rule");

    let begun = Instant::now();
    let changes = join_all((0..WRITERS).map(|n| async move {
        for change in 0..CHANGES {
            acme.projects().update(format!("p{n}")).display_name(format!("change {change}")).send().await.expect("a change");
        }
    }));
    changes.await;
    let took = begun.elapsed();
    let all = WRITERS * CHANGES;
    let count = |told: &[Notification]| told.iter().map(|one| usize::try_from(one.count).expect("a count")).sum::<usize>();
    let told = eventually("all to be told", || async {
        let told = notifications(acme, "gathered").await;
        let sent = told.iter().all(|one| one.state == NotificationSendState::Sent);
        if sent && count(&told) == all { Ok(told) } else { Err(told) }
    })
    .await;
    // One for each wait that the storm has taken, which is one unless this machine is very slow.
    let most = 1 + usize::try_from(took.as_secs() / WAIT.as_secs()).expect("few");
    assert!(told.len() <= most, "{} messages in {took:?}", told.len());
    assert_eq!(told[0].suppressed_count, 0);
    let one = notifications(acme, "at-once").await;
    // The first, with those that were committed in the same moment.
    assert_eq!((one.len(), one[0].state), (1, NotificationSendState::Sent), "{one:?}");
    let texts = texts(&chat);
    assert_eq!(texts.len(), told.len() + 1, "{texts:?}");
    assert!(texts.contains(&"project.updated".to_owned()), "{texts:?}");
    if let [one] = &told[..] {
        assert!(
            texts.iter().any(|text| text.starts_with(&format!("{all} changes, the last of tenants/acme/projects/p"))),
            "{one:?}"
        );
    }
}

both_databases!(what_gets_worse_and_recovers_is_told_once_each_and_escalated_until_it_is_seen);

async fn what_gets_worse_and_recovers_is_told_once_each_and_escalated_until_it_is_seen(database: Database) {
    let (world, chat) = (world(database).await, FakeSlack::start().await);
    let acme = &world.admin;
    slack(acme, &chat).await;
    let rules = acme.notification_rules();
    let page = || post("${notification.group}: nobody has seen it");
    let made = rule(acme, "watched", post("${notification.group} is ${notification.alarm}"));
    let made =
        made.group_by("${event.resource}").state_change("event.kind == 'project.deleted'", "event.kind == 'project.created'");
    let made = made.escalations([(Duration::from_secs(1), page()), (Duration::from_secs(3600), page())]).send().await;
    assert_eq!(made.expect("a rule").escalations.len(), 2);

    acme.projects().create("shop").send().await.expect("a project");
    acme.projects().update("shop").display_name("Shop").send().await.expect("neither better nor worse");
    acme.projects().delete("shop").send().await.expect("deleted");
    let name = "tenants/acme/projects/shop";
    until("the escalation", || async { texts(&chat) == [format!("{name} is RAISED"), format!("{name}: nobody has seen it")] })
        .await;
    let raised = notifications(acme, "watched").await.remove(0);
    assert_eq!((raised.alarm, raised.count, raised.group.as_deref()), (Some(NotificationAlarm::Raised), 1, Some(name)));

    // It recovers: that is told, and the last step never comes.
    acme.projects().create("shop").send().await.expect("a project again");
    let both = told(acme, "watched", 2, NotificationSendState::Sent).await;
    assert_eq!(both[1].alarm, Some(NotificationAlarm::Recovered));
    let states: Vec<_> = both[0].sends.iter().map(|send| send.state).collect();
    assert_eq!(states, [NotificationSendState::Sent, NotificationSendState::Sent, NotificationSendState::Cancelled]);
    assert_eq!(texts(&chat).last(), Some(&format!("{name} is RECOVERED")));

    // Who has seen it keeps others from being told; a repeat of that changes nothing.
    rules.update("watched").escalations([(Duration::from_secs(3600), page())]).send().await.expect("a longer wait");
    acme.projects().delete("shop").send().await.expect("deleted again");
    let third = told(acme, "watched", 3, NotificationSendState::Sent).await.remove(2);
    assert_eq!(third.sends[1].state, NotificationSendState::Pending);
    let seen = rules.acknowledge(&third.name).send().await.expect("seen");
    assert_eq!(
        (seen.acknowledge_principal.as_deref(), seen.sends[1].state),
        (Some("platform/admin"), NotificationSendState::Cancelled)
    );
    let again = rules.acknowledge(&third.name).send().await.expect("seen before");
    assert_eq!(again, seen);
    assert!(rules.retry(&third.name).send().await.expect_err("nothing failed").is_failed_precondition());

    let events = acme.events().list().kind("notification.*").events().collect_up_to(100).await.expect("events");
    let kinds: Vec<_> = events.iter().map(|event| event.kind.trim_start_matches("notification.")).collect();
    assert_eq!(kinds, ["sent", "sent", "sent", "sent", "acknowledged"]);
}

both_databases!(a_message_that_does_not_get_through_says_why_and_is_sent_when_it_can_be);

async fn a_message_that_does_not_get_through_says_why_and_is_sent_when_it_can_be(database: Database) {
    let (world, chat) = (world(database).await, FakeSlack::start().await);
    let acme = &world.admin;
    slack(acme, &chat).await;
    let rules = acme.notification_rules();
    rule(acme, "ops", post("${event.kind} because of ${event.data.reason}")).send().await.expect("a rule");

    // A template that fails tells what it can; a system that fails is asked again.
    for status in [500, 503] {
        chat.server.fail("chat.postMessage", Fault::Reply(Reply::json(status, &json!({ "ok": false }))));
    }
    acme.projects().create("one").send().await.expect("a project");
    let one = told(acme, "ops", 1, NotificationSendState::Sent).await.remove(0);
    assert!(one.warnings[0].contains("event.data.reason"), "{:?}", one.warnings);
    assert!(texts(&chat)[0].starts_with("project.created because of ("), "{:?}", texts(&chat));

    // A credential that is refused may be mended.
    acme.connections().rotate("chat").credential("bot_token", "xoxb-wrong").send().await.expect("rotated");
    acme.projects().create("two").send().await.expect("a project");
    eventually("a refusal", || async {
        let two = notifications(acme, "ops").await.pop().expect("some");
        let send = &two.sends[0];
        if two.state == NotificationSendState::Pending && send.error.is_some() { Ok(()) } else { Err(two) }
    })
    .await;
    acme.connections().rotate("chat").credential("bot_token", FakeSlack::TOKEN).send().await.expect("rotated");
    told(acme, "ops", 2, NotificationSendState::Sent).await;

    // Where there is no way, nothing is tried, until somebody says so.
    acme.connections().disable("chat").send().await.expect("disabled");
    acme.projects().create("three").send().await.expect("a project");
    let skipped = eventually("a notification that is skipped", || async {
        let three = notifications(acme, "ops").await.pop().expect("some");
        if three.state == NotificationSendState::Skipped { Ok(three) } else { Err(three) }
    })
    .await;
    assert!(skipped.sends[0].error.as_deref().is_some_and(|why| why.contains("disabled")), "{skipped:?}");
    acme.connections().enable("chat").send().await.expect("enabled");
    rules.retry(&skipped.name).send().await.expect("once more");
    told(acme, "ops", 3, NotificationSendState::Sent).await;

    // What makes no sense to the system is not tried again.
    rules.update("ops").message(post("x").input("channel", "C0NOWHERE")).send().await.expect("changed");
    acme.projects().create("four").send().await.expect("a project");
    let failed = eventually("a notification that fails", || async {
        let four = notifications(acme, "ops").await.pop().expect("some");
        if four.state == NotificationSendState::Failed { Ok(four) } else { Err(four) }
    })
    .await;
    assert_eq!(failed.sends[0].attempt_count, 1, "{failed:?}");

    // Who tells nobody is about nothing that happened meanwhile.
    rules.update("ops").message(post("${event.resource}")).enabled(false).send().await.expect("disabled");
    acme.projects().create("five").send().await.expect("a project");
    rules.update("ops").enabled(true).send().await.expect("enabled");
    acme.projects().create("six").send().await.expect("a project");
    until("the sixth", || async { texts(&chat).last().is_some_and(|text| text == "tenants/acme/projects/six") }).await;
    assert_eq!(notifications(acme, "ops").await.len(), 5);
    rules.delete("ops").send().await.expect("deleted");
    assert!(rules.notification(&failed.name).send().await.expect_err("gone with its rule").is_not_found());
}

both_databases!(rules_are_tried_before_they_are_made_and_refused_when_they_make_no_sense);

async fn rules_are_tried_before_they_are_made_and_refused_when_they_make_no_sense(database: Database) {
    let (world, chat) = (world(database).await, FakeSlack::start().await);
    let acme = &world.admin;
    slack(acme, &chat).await;
    for name in ["one", "two", "three"] {
        acme.projects().create(name).send().await.expect("a project");
    }
    let rules = acme.notification_rules();
    let preview = rules.preview(post("${notification.count}: ${event.resource}")).kinds(["project.created"]);
    let preview = preview.wait(Duration::from_secs(3600)).send().await.expect("a preview");
    assert_eq!((preview.notification_count, preview.wanted_event_count), (1, 3));
    let input = &preview.notifications[0].sends[0].message.as_ref().expect("a message").input;
    assert_eq!(input["text"], "3: tenants/acme/projects/three");
    assert!(texts(&chat).is_empty() && rules.list().send().await.expect("a list").items.is_empty(), "nothing is sent or written");

    let wrong = rules.create("wrong", NotificationMessage::new("chat", "messages.post").input("chanel", "${event.knd}"));
    let wrong = wrong.below("tenants/globex").filter("event.").group_by("${").digest_cron("whenever").time_zone("Mars/Olympus");
    let wrong =
        wrong.state_change("", "true").dedup_window(Duration::from_secs(60)).quiet_hours([("0 25 * * *", Duration::ZERO)]);
    let error = wrong.send().await.expect_err("much is wrong");
    let mut fields: Vec<&str> = error.violations().iter().map(|wrong| wrong.field.as_str()).collect();
    fields.sort_unstable();
    fields.dedup();
    let expected = [
        "below",
        "dedup_window",
        "digest_cron",
        "filter",
        "group_by",
        "message.input.chanel",
        "message.input.channel",
        "quiet_hours[0].duration",
        "quiet_hours[0].start_cron",
        "state_change.raised",
    ];
    let expected: Vec<String> = expected.iter().map(|field| format!("notification_rule.{field}")).collect();
    assert_eq!(fields, expected, "{error:?}");
    for (message, field) in [
        (NotificationMessage::new("nowhere", "messages.post"), "notification_rule.message.connection"),
        (NotificationMessage::new("chat", "messages.shout"), "notification_rule.message.operation"),
        (NotificationMessage::new("tenants/globex/connections/chat", "x"), "notification_rule.message.connection"),
    ] {
        let error = rules.create("wrong", message).send().await.expect_err("no such thing");
        assert_eq!(error.violations()[0].field, field, "{error:?}");
    }
    // A rule uses its connection from then on, so whoever writes it must be allowed to.
    let ada = world.person("acme", "ada", &["developer"]).await;
    let refused = ada.notification_rules().create("mine", post("x")).send().await.expect_err("not for developers");
    assert!(refused.is_permission_denied(), "{refused:?}");
    let rule = rules.create("mine", post("x")).send().await.expect("a rule");
    assert_eq!(ada.notification_rules().get("mine").send().await.expect("to be seen"), rule);
    acme.quotas().set_limit("notification_rules", Some(1)).send().await.expect("a limit");
    assert!(rules.create("more", post("x")).send().await.expect_err("one too many").is_quota_exceeded());
}

/// Kills the server at a point of a notification, and answers what the receiver got: all, and without repeats.
async fn killed_at(database: Database, point: &str) -> (usize, usize) {
    let installation = Installation::new(database).await;
    let mut replica = installation.start(armed(&installation.serve(PRIVATE), &[])).await;
    let acme = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    acme.tenants().create("acme").send().await.expect("a tenant");
    let receiver = Receiver::start(SECRET).await;
    let create = acme.connections().create("hook", "webhook").setting("url", receiver.server.url());
    trusting(create, &receiver.server).credential("secret", SECRET).send().await.expect("a connection");
    let deliver = NotificationMessage::new("hook", "deliver").input("type", "${event.kind}").input("data", json!({}));
    rule(&acme, "ops", deliver).kinds(["project.created"]).send().await.expect("a rule");
    replica.process.kill();
    let places = [("FREEHOLD_FAULT", point), ("FREEHOLD_TIME", "notifications.lease:1")];
    replica = installation.again_with(&replica, &places, PRIVATE).await;
    // The change is committed whether or not its answer still comes.
    let _ = acme.projects().create("told").deadline(Duration::from_secs(10)).send().await;
    replica.process.wait().await;
    let _replica = installation.again_with(&replica, &places[1..], PRIVATE).await;
    told(&acme, "ops", 1, NotificationSendState::Sent).await;
    (receiver.server.requests().len(), receiver.deliveries().len())
}

both_databases!(a_server_that_is_killed_on_the_way_tells_at_least_once_and_once_by_its_key);

async fn a_server_that_is_killed_on_the_way_tells_at_least_once_and_once_by_its_key(database: Database) {
    let decided = killed_at(database, "notifications.decided:1").await;
    assert_eq!(decided, (1, 1), "killed before it was written down that somebody has to be told");
    let delivered = killed_at(database, "notifications.delivered:1").await;
    assert_eq!(delivered, (2, 1), "killed before it was written down that somebody was told");
}

/// Makes the rule `failures` over a connection to a receiver that is not there, has something happen that it wants once, and answers the
/// notification when it was tried.
pub async fn untold(acme: &Client) -> String {
    let create = acme.connections().create("pager", "webhook").setting("url", "https://receiver.invalid/");
    create.credential("secret", SECRET).send().await.expect("a connection");
    let deliver = NotificationMessage::new("pager", "deliver").input("type", "${event.kind}").input("data", json!({}));
    rule(acme, "failures", deliver).kinds(["project.created"]).send().await.expect("a rule");
    acme.projects().create("noticed").send().await.expect("something to tell of");
    eventually("a try", || async {
        let all = notifications(acme, "failures").await;
        match all.first() {
            Some(one) if one.sends[0].attempt_count > 0 => Ok(one.name.clone()),
            _ => Err(all),
        }
    })
    .await
}
