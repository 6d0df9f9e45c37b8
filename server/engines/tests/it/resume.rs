//! A runner dies at every one of its records, in every way; the next one goes on.

use freehold_engines::{ApplyRequest, Engine, JournalState};
use serde_json::{Value, json};

use crate::{
    rest::Rest,
    support::{Death, TestSink, World, die_and_resume, files},
};

const DEATHS: [Death; 3] = [Death::AnswerLost, Death::RecordLost, Death::Killed];

fn mixed(url: &str, size: u32, path: &str) -> String {
    format!(
        r#"
resources:
  pw: {{type: random_password, length: 32}}
  key: {{type: tls_key, keepers: {{size: {size}}}}}
  secret: {{type: file, path: "{path}", content: "${{resources.pw.value}} {size}"}}
  pem: {{type: file, path: key.pem, content: "${{resources.key.public_key_pem}}"}}
  fixed:
    type: http
    create: {{method: PUT, url: "{url}/things/fixed", body: {{name: fixed, size: {size}}}}}
    update: {{url: "{url}/things/{{id}}"}}
    delete: {{url: "{url}/things/{{id}}"}}
  keyed:
    type: http
    create: {{method: POST, url: "{url}/keyed/things", body: {{name: keyed, pet: "${{resources.key.public_key_sha256}}"}}}}
    delete: {{url: "{url}/things/{{id}}"}}
    idempotent: true
  found:
    type: http
    create: {{method: POST, url: "{url}/things", body: {{name: found}}}}
    read: {{url: "{url}/things/{{id}}"}}
    delete: {{url: "{url}/things/{{id}}"}}
    lookup: {{url: "{url}/things?name=found", pointer: /items/0/id}}
    dependsOn: [secret]
"#
    )
}

#[tokio::test]
async fn every_effect_happens_once_wherever_the_runner_dies() {
    let mut drawn_before = 0;
    for death in DEATHS {
        let mut at = 0;
        loop {
            let rest = Rest::start().await;
            let mut world = World::new();
            let body = mixed(&rest.url, 1, "one");
            let plan = world.plan(&body).await;
            let (died, outcome, sink) = die_and_resume(&mut world, &plan, at, death).await;
            let place = format!("{death:?} at record {at}: {:?}", sink.lines());

            assert!(outcome.failed.is_none() && outcome.unknown.is_empty(), "{:?} {place}", outcome.failed);
            assert!(outcome.changed, "{place}");
            for name in ["fixed", "keyed", "found"] {
                assert_eq!(rest.made(name), 1, "{name}: {place}");
            }
            assert_eq!(rest.shelf().things.len(), 3, "{place}");
            assert_eq!(outcome.state.addresses().len(), 7, "{place}");
            assert_eq!(world.read("one"), format!("{} 1", text(&world.attribute("random_password.pw", "value"))), "{place}");
            assert_eq!(json!(world.read("key.pem")), world.attribute("tls_key.key", "public_key_pem"), "{place}");
            for (address, name) in [("random_password.pw", "value"), ("tls_key.key", "private_key_pem")] {
                if let Some(drawn) = sink.inherited(address, &format!("/drawn/{name}")) {
                    assert_eq!(drawn, world.attribute(address, name), "{place}");
                    drawn_before += 1;
                }
            }
            assert!(world.plan(&body).await.is_empty(), "{place}");
            let left = std::fs::read_dir(world.root()).expect("a folder").count();
            assert_eq!(left, 2, "temporary files stay behind: {place}");
            if !died {
                assert_eq!(at, 14, "each of seven steps has an intent and an end");
                break;
            }
            at += 1;
        }
    }
    assert!(drawn_before > 0, "no runner died between drawing a value and keeping it");
}

#[tokio::test]
async fn changes_replacements_and_removals_resume_as_well() {
    for death in DEATHS {
        let mut at = 0;
        loop {
            let rest = Rest::start().await;
            let mut world = World::new();
            world.apply(&mixed(&rest.url, 1, "one")).await;
            let kept = world.attribute("random_password.pw", "value");
            // The key is replaced, and what is made from it; `secret` moves to another path; `fixed` changes in place.
            let body = mixed(&rest.url, 2, "two");
            let plan = world.plan(&body).await;
            let (died, outcome, sink) = die_and_resume(&mut world, &plan, at, death).await;
            let place = format!("{death:?} at record {at}: {:?}", sink.lines());

            assert!(outcome.failed.is_none() && outcome.unknown.is_empty(), "{:?} {place}", outcome.failed);
            assert_eq!((rest.made("fixed"), rest.made("keyed"), rest.made("found")), (1, 2, 1), "{place}");
            assert_eq!(rest.shelf().things.len(), 3, "{place}");
            assert_eq!(rest.shelf().things["fixed"]["size"], json!(2), "{place}");
            assert_eq!(world.read("two"), format!("{} 2", text(&kept)), "{place}");
            assert!(!world.root().join("one").exists(), "{place}");
            assert!(world.plan(&body).await.is_empty(), "{place}");

            let plan = world.plan_destroy(&body).await;
            let (_, end, sink) = die_and_resume(&mut world, &plan, at, death).await;
            assert!(end.failed.is_none() && end.state.addresses().is_empty(), "{end:?} {:?}", sink.lines());
            assert!(rest.shelf().things.is_empty(), "{place}");
            if !died {
                break;
            }
            at += 1;
        }
        assert!(at > 10, "only {at} records");
    }
}

#[tokio::test]
async fn a_post_that_nobody_can_ask_about_is_unknown_and_never_doubled() {
    let body = |url: &str| {
        format!(
            r#"
resources:
  thing:
    type: http
    create: {{method: POST, url: "{url}/things", body: {{name: one}}}}
  after: {{type: file, path: after, content: "${{resources.thing.id}}"}}
  free: {{type: file, path: free, content: x}}
"#
        )
    };
    for death in DEATHS {
        let mut unknown = 0;
        for at in 0..6 {
            let rest = Rest::start().await;
            let mut world = World::new();
            let plan = world.plan(&body(&rest.url)).await;
            let (died, outcome, sink) = die_and_resume(&mut world, &plan, at, death).await;
            assert!(died);
            assert!(rest.made("one") <= 1, "{death:?} at {at}");
            assert_eq!(world.read("free"), "x");
            if outcome.unknown.is_empty() {
                assert!(outcome.failed.is_none(), "{outcome:?}");
                assert_eq!(rest.made("one"), 1, "{death:?} at {at}");
            } else {
                unknown += 1;
                assert_eq!(outcome.unknown, ["http.thing"]);
                assert_eq!(sink.states()["http.thing"], JournalState::Unknown);
                assert_eq!(sink.states()["file.after"], JournalState::Skipped);
                assert!(!world.root().join("after").exists());
            }
        }
        assert!(unknown >= 1, "{death:?}: between intent and end nobody can tell");
    }
}

#[tokio::test]
async fn an_end_is_remembered_by_the_next_attempt() {
    let mut world = World::new();
    let body = r#"
resources:
  bad: {type: file, path: bad, content: ours}
  after: {type: file, path: after, content: x, dependsOn: [bad]}
  slow: {type: file, path: slow, content: x}
"#;
    std::fs::write(world.root().join("bad"), "theirs").expect("a file");
    let plan = world.plan(body).await;
    for at in 0..6 {
        let (_, outcome, sink) = die_and_resume(&mut world, &plan, at, Death::AnswerLost).await;
        let error = outcome.failed.expect("the file is not ours");
        assert_eq!((error.code.as_str(), error.address.as_str()), ("file-exists", "file.bad"), "at {at}");
        assert_eq!(sink.states()["file.after"], JournalState::Skipped, "at {at}");
        assert_eq!(world.read("slow"), "x", "at {at}");
        std::fs::remove_file(world.root().join("slow")).expect("it is there");
    }
}

#[tokio::test]
async fn a_thing_that_was_removed_and_could_not_be_made_anew_is_not_in_the_state() {
    for death in DEATHS {
        for at in 0..4 {
            let mut world = World::new();
            let body = |path: &str| format!("resources:\n  f: {{type: file, path: {path}, content: ours}}\n");
            world.apply(&body("before")).await;
            std::fs::write(world.root().join("taken"), "theirs").expect("a file");
            let plan = world.plan(&body("taken")).await;
            let (died, outcome, _) = die_and_resume(&mut world, &plan, at, death).await;
            assert!(died && outcome.changed, "{death:?} at {at}");
            assert_eq!(outcome.failed.map(|error| error.code).as_deref(), Some("file-exists"), "{death:?} at {at}");
            assert_eq!(outcome.state.addresses(), [""; 0], "{death:?} at {at}");
            assert!(!world.root().join("before").exists());
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[tokio::test]
async fn a_recovery_that_cannot_begin_gives_no_state() {
    let mut world = World::new();
    let body = "resources:\n  a: {type: file, path: a, content: a}\n  b: {type: file, path: b, content: b, dependsOn: [a]}\n";
    let plan = world.plan(body).await;
    let first = TestSink::dying(2, Death::RecordLost);
    world.apply_plan(&plan, &first).await;
    assert_eq!(first.states()["file.a"], JournalState::Done, "the first attempt has made something");

    let mut broken = first.journal();
    broken[0].data.truncate(5);
    let mut other = plan.clone();
    other.files = files("resources: [");
    for (plan, journal, code) in [(&plan, broken, "journal-invalid"), (&other, first.journal(), "blueprint-invalid")] {
        let request = ApplyRequest { run: plan.run.clone(), plan: plan.to_bytes(), journal, state: None };
        let error = world.engine.apply(request, &TestSink::default()).await.expect_err("no state to write");
        assert_eq!(error.code, code, "{error}");
    }
}
