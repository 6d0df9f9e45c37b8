//! The whole life of something real that a provider of Terraform makes: planned, approved, made, changed by others, found to have
//! drifted, put right, rolled back and removed. The world outside is asked at each step.

use std::path::Path;

use freehold::{ChangeAction, DriftState};
use freehold_tests::{Database, Shelf, Site, World, site::module, terraforms};

const SIGN: &str = r#"
terraform {
  required_providers { shelf = { source = "freehold.test/tests/shelf" } }
}
variable "motto" { type = string }
resource "shelf_item" "sign" {
  name    = "sign"
  content = var.motto
}
resource "shelf_item" "copy" {
  name    = "copy"
  content = "after ${shelf_item.sign.id}: ${var.motto}"
}
resource "terraform_data" "note" { input = shelf_item.copy.content }
output "sign" { value = shelf_item.sign.id }
"#;

fn provider() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_terraform-provider-shelf"))
}

async fn what_is_real_lives_from_plan_to_destroy(database: Database) {
    let world = World::new(database).await.shop().await;
    world.publish("sign", module(SIGN, &["motto"])).await;
    for program in terraforms() {
        let shelf = Shelf::start().await;
        let id = program.file_name().and_then(|name| name.to_str()).expect("a name");
        let dir = world.installation.path(id);
        let mut options = shelf.options(&dir, provider());
        options.extend(["--terraform".to_owned(), program.display().to_string()]);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let runner = world.installation.runner(&[world.replica.runner], "runner", &options);
        one_life(&world, &shelf, id).await;
        drop(runner);
    }
}

both_databases!(what_is_real_lives_from_plan_to_destroy);

async fn one_life(world: &World, shelf: &Shelf, id: &str) {
    let site = Site::new(world, id, "sign", &[("motto", "one")]).await;
    let sign = |motto: &str| [("copy".to_owned(), format!("after 1: {motto}")), ("sign".to_owned(), motto.to_owned())].into();

    let run = site.planned().await;
    assert_eq!(run.run().plan_summary.as_ref().map(|plan| plan.create), Some(3), "{:?}", run.run());
    assert!(shelf.items().is_empty() && shelf.writes() == 0, "nothing is made, and nobody could, before an approval");
    site.approved(run).await;
    assert_eq!(shelf.items(), sign("one"));
    assert_eq!(site.held().await, ["shelf_item.copy", "shelf_item.sign", "terraform_data.note"]);
    assert_eq!(site.outputs().await["sign"], "1");

    site.wants(&[("motto", "two")]).await;
    let run = site.planned().await;
    assert_eq!(run.run().plan_summary.as_ref().map(|plan| plan.update), Some(3));
    site.approved(run).await;
    assert_eq!(shelf.items(), sign("two"));
    let writes = shelf.writes();
    assert_eq!(site.drift().await, (DriftState::Clean, Vec::new()));

    // Somebody changes one thing and removes another.
    shelf.vandalise("sign", Some("three"));
    shelf.vandalise("copy", None);
    let (state, mut items) = site.drift().await;
    assert_eq!(state, DriftState::Drifted);
    items.sort_by(|one, other| one.address.cmp(&other.address));
    let [copy, changed] = &items[..] else { panic!("{items:?}") };
    assert_eq!((copy.address.as_str(), copy.path.as_deref()), ("shelf_item.copy", None), "{copy:?}");
    assert_eq!((changed.address.as_str(), changed.path.as_deref()), ("shelf_item.sign", Some("content")));
    assert_eq!((&changed.before, &changed.after), (&Some("two".into()), &Some("three".into())));
    assert_eq!((shelf.items().len(), shelf.writes()), (1, writes), "who looks changes nothing, and could not");

    // What puts it right is proposed, and waits for a person.
    let run = site.proposed().await;
    let plan = run.plan().await.expect("a plan");
    let action = |address: &str| plan.changes.iter().find(|change| change.address == address).map(|change| change.action);
    assert_eq!(
        (action("shelf_item.copy"), action("shelf_item.sign")),
        (Some(ChangeAction::Create), Some(ChangeAction::Update)),
        "{plan:?}"
    );
    assert_eq!(shelf.items()["sign"], "three");
    site.approved(run).await;
    assert_eq!(shelf.items(), sign("two"));
    assert_eq!(site.drift().await, (DriftState::Clean, Vec::new()));

    site.rolled_back(1).await;
    assert_eq!(shelf.items(), sign("one"));
    site.destroyed().await;
    assert!(shelf.items().is_empty(), "{:?}", shelf.items());
    assert_eq!(shelf.refused(), 0, "nobody who may only look tried more");
}
