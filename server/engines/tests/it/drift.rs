use std::fs;

use freehold_engines::Action;
use serde_json::json;

use crate::{rest::Rest, support::World};

#[tokio::test]
async fn what_happens_outside_is_reported_and_the_next_apply_puts_it_right() {
    let rest = Rest::start().await;
    let mut world = World::new();
    let body = format!(
        r#"
resources:
  kept: {{type: file, path: kept, content: same}}
  edited: {{type: file, path: edited, content: before, mode: "0600"}}
  lost: {{type: file, path: lost, content: there}}
  thing:
    type: http
    create: {{method: POST, url: "{url}/things", body: {{name: one, size: 1}}}}
    read: {{url: "{url}/things/{{id}}"}}
    update: {{method: PUT, url: "{url}/things/{{id}}"}}
    delete: {{url: "{url}/things/{{id}}"}}
"#,
        url = rest.url
    );
    world.apply(&body).await;
    assert!(world.plan(&body).await.is_empty());
    fs::write(world.root().join("edited"), "after").expect("a file");
    fs::remove_file(world.root().join("lost")).expect("a file");
    rest.shelf().things.values_mut().for_each(|thing| thing["size"] = json!(7));

    let before = world.state.clone();
    let report = world.drift(&body).await;

    let what = |address: &str| (report.changes[address].action, report.changes[address].drifted);
    assert_eq!(what("file.kept"), (Action::Noop, false));
    assert_eq!(what("file.edited"), (Action::Update, true));
    assert_eq!(what("file.lost"), (Action::Delete, true));
    assert_eq!(what("http.thing"), (Action::Update, true));
    assert!(report.steps.is_empty() && Some(&report.state) == before.as_ref());
    let people = report.summary_for_people();
    assert_eq!(people.counts.drifted, 3);
    let edited = people.changes.iter().find(|change| change.address == "file.edited").expect("it is reported");
    let content = edited.attributes.iter().find(|attribute| attribute.path == "content").expect("it is shown");
    assert_eq!((content.before.as_str(), content.after.as_str()), ("\"before\"", "\"after\""));
    assert_eq!(world.read("edited"), "after", "a report changes nothing");

    let plan = world.plan(&body).await;
    assert_eq!(plan.changes["file.lost"].action, Action::Create);
    assert!(plan.changes["file.edited"].drifted && plan.changes["file.edited"].reason.contains("`content`"));
    world.apply(&body).await;
    assert_eq!((world.read("edited").as_str(), world.read("lost").as_str()), ("before", "there"));
    assert_eq!(rest.shelf().things["thing/1"]["size"], json!(1));
    assert!(world.plan(&body).await.is_empty());

    // What is gone already is no reason not to destroy the rest.
    fs::remove_file(world.root().join("kept")).expect("a file");
    rest.shelf().things.clear();
    let end = world.destroy(&body).await;
    assert!(end.failed.is_none() && end.state.addresses().is_empty(), "{end:?}");
}
