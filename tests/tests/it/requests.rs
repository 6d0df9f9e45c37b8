//! What every request can rely on: repeats, etags, rehearsals, masks, pages, and all that is wrong at once.

use freehold::raw::{
    proto::tenants::v1::{self as pb, project_service_client::ProjectServiceClient},
    tonic::{Code, Request},
};
use freehold_tests::{Database, World};
use futures::{StreamExt as _, TryStreamExt as _};

const ID: &str = "0199a000-0000-7000-8000-000000000001";

both_databases!(a_repeat_gets_the_first_answer_and_a_reused_id_is_refused);

async fn a_repeat_gets_the_first_answer_and_a_reused_id_is_refused(database: Database) {
    let world = World::new(database).await;
    let acme = &world.admin;
    let create = |name: &'static str| acme.projects().create(name).request_id(ID);

    let first = create("shop").send().await.expect("a project");
    acme.projects().update("shop").display_name("Changed since").send().await.expect("a change");
    let again = create("shop").send().await.expect("the same request");
    assert_eq!(again, first, "the first answer, not the present state");
    let reused = create("other").send().await.expect_err("another body");
    assert_eq!((reused.code(), reused.reason()), (freehold::Code::InvalidArgument, Some("REQUEST_ID_REUSED")));
    assert_eq!(acme.quotas().get("projects").send().await.expect("a quota").used, 1);

    // Sixteen at once with one id: one project, and the same answer for all that have one.
    let racers = (0..16).map(|_| acme.projects().create("race").request_id("0199a000-0000-7000-8000-000000000002").send());
    let answers = futures::future::join_all(racers).await;
    let uids: std::collections::BTreeSet<_> =
        answers.iter().map(|answer| answer.as_ref().expect("one of them made it").uid.clone()).collect();
    assert_eq!(uids.len(), 1);
    assert_eq!(acme.quotas().get("projects").send().await.expect("a quota").used, 2);

    // Ids belong to their caller.
    let ada = world.person("acme", "ada", &["tenant-admin"]).await;
    ada.projects().create("hers").request_id(ID).send().await.expect("her own id");
    let malformed = acme.projects().create("x").request_id("not-a-uuid").send().await.expect_err("no UUID");
    assert_eq!(malformed.violations()[0].field, "request_id");
}

both_databases!(of_two_writers_with_one_etag_one_is_told_the_current_one);

async fn of_two_writers_with_one_etag_one_is_told_the_current_one(database: Database) {
    let world = World::new(database).await;
    let acme = &world.admin;
    let mut seen = acme.projects().create("shop").send().await.expect("a project").etag;
    for round in 0..10 {
        let write = |who: &str| {
            let text = format!("{who} in {round}");
            acme.projects().update("shop").etag(&seen).description(text).send()
        };
        let (one, two) = tokio::join!(write("one"), write("two"));
        let (won, lost) = match (one, two) {
            (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
            other => panic!("one wins and one loses: {other:?}"),
        };
        assert!(lost.is_aborted() && lost.is_etag_mismatch(), "{lost:?}");
        assert_eq!(lost.metadata("current_etag"), Some(won.etag.as_str()));
        assert_eq!(acme.projects().get("shop").send().await.expect("it is there"), won, "only the winner has written");
        seen = won.etag;
    }
    let stale = acme.projects().delete("shop").etag("0").send().await.expect_err("an old etag");
    assert_eq!(stale.metadata("current_etag"), Some(seen.as_str()));
}

both_databases!(a_rehearsal_says_what_would_be_and_changes_nothing);

async fn a_rehearsal_says_what_would_be_and_changes_nothing(database: Database) {
    let world = World::new(database).await;
    let acme = &world.admin;
    acme.projects().create("real").send().await.expect("a project");
    let records = || async { acme.audit().list().collect_up_to(1000).await.expect("a list").len() };
    let before = records().await;

    let shown = acme.projects().create("shop").request_id(ID).validate_only().send().await.expect("it would work");
    assert_eq!(shown.name, "tenants/acme/projects/shop");
    let changed = acme.projects().update("real").display_name("New").validate_only().send().await.expect("it would work");
    assert_eq!(changed.display_name, "New");
    let taken = acme.projects().create("real").validate_only().send().await.expect_err("it would not work");
    assert!(taken.is_already_exists());
    acme.quotas().set_limit("projects", 1).send().await.expect("a limit");
    let full = acme.projects().create("shop").validate_only().send().await.expect_err("it would not fit");
    assert!(full.is_quota_exceeded());

    assert!(acme.projects().get("shop").send().await.expect_err("nothing was made").is_not_found());
    assert_eq!(acme.projects().get("real").send().await.expect("it is there").display_name, "");
    assert_eq!(acme.quotas().get("projects").send().await.expect("a quota").used, 1);
    assert_eq!(records().await, before + 1, "only the limit is a change");
    acme.quotas().set_limit("projects", 2).send().await.expect("a limit");
    acme.projects().create("shop").request_id(ID).send().await.expect("a rehearsal does not use up its request id");
}

both_databases!(a_mask_says_what_changes_and_a_wrong_one_changes_nothing);

async fn a_mask_says_what_changes_and_a_wrong_one_changes_nothing(database: Database) {
    let world = World::new(database).await;
    let acme = &world.admin;
    acme.projects().create("shop").display_name("Shop").description("Sells").label("a", "1").send().await.expect("a project");
    let mut raw = ProjectServiceClient::new(acme.raw().expect("a channel"));
    let name = "tenants/acme/projects/shop";
    let mut update = async |project: pb::Project, paths: &[&str]| {
        let mask = prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() };
        let request = pb::UpdateProjectRequest { project: Some(project), update_mask: Some(mask), ..Default::default() };
        raw.update_project(Request::new(request)).await
    };
    let wish = || pb::Project { name: name.to_owned(), display_name: "Web shop".to_owned(), ..Default::default() };

    let answer = update(wish(), &["display_name"]).await.expect("a mask that fits").into_inner().project.expect("a project");
    assert_eq!((answer.display_name.as_str(), answer.description.as_str(), answer.labels.len()), ("Web shop", "Sells", 1));
    let answer =
        update(wish(), &["description", "labels"]).await.expect("absent is empty").into_inner().project.expect("a project");
    assert_eq!((answer.display_name.as_str(), answer.description.as_str(), answer.labels.len()), ("Web shop", "", 0));

    for (paths, named) in [
        (&["display_name", "colour"][..], "colour"),
        (&["uid"], "uid"),
        (&["create_time", "nonsense.deep"], "nonsense.deep"),
        (&["project.display_name"], "project.display_name"),
    ] {
        let refused = update(pb::Project { display_name: "Not me".to_owned(), ..wish() }, paths).await.expect_err("a wrong mask");
        assert_eq!(refused.code(), Code::InvalidArgument);
        let error = freehold::raw::error(refused);
        assert_eq!(error.reason(), Some("MASK_INVALID"), "{error:?}");
        assert!(format!("{error:?}").contains(named), "it names {named}: {error:?}");
    }
    assert_eq!(acme.projects().get("shop").send().await.expect("it is there").display_name, "Web shop");
}

both_databases!(pages_hold_every_project_once);

async fn pages_hold_every_project_once(database: Database) {
    let world = World::new(database).await;
    let acme = &world.admin;
    acme.quotas().set_limit("projects", None).send().await.expect("no limit");
    let made = futures::stream::iter(0..120).map(|n| acme.projects().create(format!("p-{n}")).send()).buffer_unordered(8);
    made.try_collect::<Vec<_>>().await.expect("projects");

    let pages: Vec<_> = acme.projects().list().page_size(50).pages().try_collect().await.expect("pages");
    assert_eq!(pages.iter().map(|page| page.items.len()).collect::<Vec<_>>(), [50, 50, 20]);
    let items: Vec<_> = acme.projects().list().page_size(50).items().try_collect().await.expect("items");
    let names: std::collections::BTreeSet<_> = items.iter().map(|project| project.name.clone()).collect();
    assert_eq!((items.len(), names.len()), (120, 120));
    assert!(items.windows(2).all(|pair| pair[0].uid < pair[1].uid), "oldest first");

    let token = pages[0].next_page_token.clone().expect("there is more");
    acme.projects().delete("p-0").send().await.expect("something goes while somebody reads");
    let rest = acme.projects().list().page_size(200).page_token(&token).send().await.expect("the token still holds");
    assert!(rest.items.len() >= 69 && rest.next_page_token.is_none());

    world.tenant("other").await;
    let other = world.installation.client(&[world.replica.api], world.installation.pki.credentials("admin"), "other").await;
    for foreign in [
        other.projects().list().page_token(&token).send().await.expect_err("another parent"),
        acme.projects().list().page_token("bm9uc2Vuc2U").send().await.expect_err("nonsense"),
    ] {
        assert_eq!(foreign.reason(), Some("PAGE_TOKEN_INVALID"), "{foreign:?}");
    }
    let users = acme.users().list().page_token(&token).send().await.expect_err("another list");
    assert_eq!(users.reason(), Some("PAGE_TOKEN_INVALID"));
}

both_databases!(everything_that_is_wrong_is_named_at_once);

async fn everything_that_is_wrong_is_named_at_once(database: Database) {
    let world = World::new(database).await;
    let refused = world
        .admin
        .projects()
        .create("Not An Id")
        .request_id("nonsense")
        .display_name("x".repeat(64))
        .description("y".repeat(100_000))
        .label("Bad Key", "v".repeat(64))
        .send()
        .await
        .expect_err("all of it is wrong");

    assert_eq!(refused.reason(), Some("FIELD_INVALID"));
    let fields: Vec<&str> = refused.violations().iter().map(|violation| violation.field.as_str()).collect();
    for expected in ["project_id", "request_id", "project.display_name", "project.description", "project.labels"] {
        assert!(fields.iter().any(|field| field.starts_with(expected)), "{expected} is missing in {fields:?}");
    }
    assert!(refused.violations().iter().all(|violation| !violation.description.is_empty()));

    let unknown = world.admin.quotas().get("bananas").send().await.expect_err("no such quota");
    assert!(unknown.message().contains("projects"), "it names those that there are: {unknown:?}");
}
