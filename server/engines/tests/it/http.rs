use freehold_engines::{Action, JournalState};
use hyper::StatusCode;
use serde_json::json;

use crate::{
    rest::{Fault, Rest},
    support::{TestSink, World},
};

fn post(url: &str, extra: &str) -> String {
    format!(
        r#"
resources:
  thing:
    type: http
    create: {{method: POST, url: "{url}/things", body: {{name: one}}}}
    read: {{url: "{url}/things/{{id}}"}}
    delete: {{url: "{url}/things/{{id}}"}}
{extra}
"#
    )
}

async fn first_error(world: &mut World, body: &str) -> freehold_engines::StepError {
    let plan = world.plan(body).await;
    world.apply_plan(&plan, &TestSink::default()).await.failed.expect("it fails")
}

#[tokio::test]
async fn ids_stay_one_path_segment_and_changes_without_update_replace() {
    let rest = Rest::start().await;
    let mut world = World::new();
    world.apply(&post(&rest.url, "")).await;
    assert_eq!(world.attribute("http.thing", "id"), json!("thing/1"));
    assert!(rest.shelf().requests.iter().any(|(method, path, _)| method == "GET" && path == "/things/thing%2F1"));

    let changed = post(&rest.url, "").replace("name: one", "name: two");
    assert_eq!(world.plan(&changed).await.changes["http.thing"].action, Action::Replace);
    world.apply(&changed).await;
    assert_eq!(rest.shelf().things.keys().collect::<Vec<_>>(), ["thing/2"]);

    world.destroy(&changed).await;
    assert!(rest.shelf().things.is_empty());
    let keys: Vec<_> = rest.shelf().requests.iter().filter(|(method, ..)| method != "GET").map(|(.., key)| key.clone()).collect();
    let mut distinct = keys.clone();
    distinct.sort();
    distinct.dedup();
    assert!(keys.iter().all(Option::is_some) && distinct.len() == keys.len(), "each effect has its own key: {keys:?}");
}

#[tokio::test]
async fn a_busy_service_is_asked_again_only_where_that_is_safe() {
    let rest = Rest::start().await;
    let busy = [Fault::Busy(StatusCode::TOO_MANY_REQUESTS, "0"), Fault::Busy(StatusCode::SERVICE_UNAVAILABLE, "0")];

    rest.fail_next(busy);
    let mut world = World::new();
    world.apply(&post(&rest.url, "    idempotent: true").replace("/things\"", "/keyed/things\"")).await;
    assert_eq!(rest.made("one"), 1);

    rest.fail_next(busy);
    let mut world = World::new();
    let error = first_error(&mut world, &post(&rest.url, "")).await;
    assert_eq!((error.code.as_str(), error.retryable), ("http-busy", true));
    assert_eq!((rest.made("one"), rest.shelf().faults.len()), (1, 1), "a plain POST is sent once");

    rest.shelf().faults.clear();
    rest.fail_next([Fault::Busy(StatusCode::SERVICE_UNAVAILABLE, "3600")]);
    let error = first_error(&mut World::new(), &post(&rest.url, "    idempotent: true")).await;
    assert_eq!(error.code, "http-busy", "nobody waits for an hour");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_unknown_unless_somebody_can_tell() {
    let rest = Rest::start().await;

    rest.fail_next([Fault::HangsUp]);
    let mut world = World::new();
    let plan = world.plan(&post(&rest.url, "")).await;
    let sink = TestSink::default();
    let outcome = world.apply_plan(&plan, &sink).await;
    assert_eq!(outcome.unknown, ["http.thing"]);
    assert_eq!(outcome.failed.map(|error| error.code).as_deref(), Some("effect-unknown"));
    assert_eq!(sink.states()["http.thing"], JournalState::Unknown);
    assert_eq!(rest.made("one"), 1);

    rest.shelf().things.clear();
    rest.fail_next([Fault::HangsUp]);
    let lookup = format!("    lookup: {{url: \"{}/things?name=one\", pointer: /items/0/id}}", rest.url);
    let mut world = World::new();
    world.apply(&post(&rest.url, &lookup)).await;
    assert_eq!((world.attribute("http.thing", "id"), rest.made("one")), (json!("thing/2"), 2));

    // With a lookup that finds nothing it is known that nothing happened.
    rest.shelf().things.clear();
    rest.fail_next([Fault::Broken]);
    let error = first_error(&mut World::new(), &post(&rest.url, &lookup)).await;
    assert_eq!((error.code.as_str(), rest.made("one")), ("http-failed", 2));

    rest.fail_next([Fault::HangsUp]);
    let mut world = World::new();
    world.apply(&post(&rest.url, "    idempotent: true").replace("/things\"", "/keyed/things\"")).await;
    assert_eq!(rest.made("one"), 3, "the repeat was dropped by its key");
}

#[tokio::test]
async fn redirects_and_floods_are_refused() {
    let rest = Rest::start().await;
    rest.fail_next([Fault::Redirects("http://169.254.169.254/latest")]);
    let error = first_error(&mut World::new(), &post(&rest.url, "")).await;
    assert_eq!(error.code, "http-redirected");

    rest.fail_next([Fault::Floods]);
    let error = first_error(&mut World::new(), &post(&rest.url, "")).await;
    assert_eq!(error.code, "effect-unknown", "{error}");
    assert!(error.message.contains("more than 1048576 bytes"), "{error}");
}

#[tokio::test]
async fn addresses_are_checked_where_the_connection_is_made() {
    let rest = Rest::start().await;
    let named = rest.url.replace("127.0.0.1", "localhost");
    for url in [&rest.url, &named] {
        let error = first_error(&mut World::with(false, &[]), &post(url, "")).await;
        assert_eq!(error.code, "host-refused", "{error}");
    }
    let error = first_error(&mut World::with(true, &["example.com"]), &post(&rest.url, "")).await;
    assert_eq!(error.code, "host-refused", "{error}");
    assert_eq!(rest.shelf().requests, [], "nothing was sent");

    World::with(true, &["localhost"]).apply(&post(&named, "")).await;
    assert_eq!(rest.made("one"), 1);
}

#[tokio::test]
async fn a_new_token_is_used_to_look_and_to_remove() {
    let rest = Rest::start().await;
    let mut world = World::new();
    let body = format!(
        "inputs: {{properties: {{token: {{type: string, sensitive: true}}}}}}\n{}",
        post(&rest.url, "    headers: {Authorization: \"Bearer ${inputs.token}\"}")
    );
    world.inputs.insert("token".to_owned(), json!("first-token"));
    rest.shelf().token = Some("first-token".to_owned());
    world.apply(&body).await;

    rest.shelf().token = Some("second-token".to_owned());
    world.inputs.insert("token".to_owned(), json!("second-token"));
    let requests = rest.shelf().requests.len();
    world.apply(&body).await;
    assert_eq!(world.attribute("http.thing", "headers"), json!({ "Authorization": "Bearer second-token" }));
    let sent = rest.shelf().requests[requests..].iter().filter(|(method, ..)| method != "GET").count();
    assert_eq!(sent, 0, "the thing itself has not changed");
    assert!(world.plan(&body).await.is_empty());

    rest.shelf().token = Some("third-token".to_owned());
    world.inputs.insert("token".to_owned(), json!("third-token"));
    let end = world.destroy(&body).await;
    assert!(end.failed.is_none() && rest.shelf().things.is_empty(), "{end:?}");
}
