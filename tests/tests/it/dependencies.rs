//! Deployments that are made of one another: in order, with committed results, followed when those change, removed backwards.

use std::collections::BTreeMap;

use freehold::{
    BlueprintFile, Client, Deployment, DeploymentConditionType, DeploymentState, EnvironmentKind, RunHandle, RunKind, RunOutcome,
    RunPhase, WaitingReason,
};
use freehold_service::updates;
use freehold_tests::{Database, RunnerProcess, World, eventually};
use serde_json::{Map, Value, json};
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions, sqlite::SqliteConnectOptions};

use crate::{faults::Faulty as _, later::open};

const NETWORK: &str = r#"
apiVersion: freehold.dev/v1
engine: native
inputs:
  properties:
    name: { type: string, default: one }
    label: { type: string, default: none }
resources:
  net: { type: file, path: "${deployment.id}.txt", content: "${inputs.name} ${inputs.label}\n" }
outputs:
  id: { value: "net-${inputs.name}" }
  key: { value: "hush-${inputs.name}", sensitive: true }
"#;

const DATABASE: &str = r#"
apiVersion: freehold.dev/v1
engine: native
inputs:
  required: [network, key]
  properties:
    network: { type: string, format: deployment-output-ref }
    key: { type: string, format: deployment-output-ref, sensitive: true }
resources:
  db: { type: file, path: "${deployment.id}.txt", content: "db in ${inputs.network}\n" }
outputs:
  host: { value: "${inputs.network}/db" }
  password: { value: "${inputs.key}-pw", sensitive: true }
"#;

const WEB: &str = r#"
apiVersion: freehold.dev/v1
engine: native
inputs:
  required: [hosts, password]
  properties:
    hosts: { type: array, items: { type: string, format: deployment-output-ref } }
    password: { type: string, format: deployment-output-ref, sensitive: true }
    greeting: { type: string, default: hello }
resources:
  web: { type: file, path: "${deployment.id}.txt", content: "${inputs.hosts.join(',')} ${inputs.password} ${inputs.greeting}\n" }
"#;

const NET: &str = "shop/dev/net";
const DB: &str = "shop/dev/db";
const SITE: &str = "shop/dev/web";

async fn publish_all(world: &World) {
    for (name, text) in [("network", NETWORK), ("database", DATABASE), ("web", WEB)] {
        world.publish(name, vec![BlueprintFile::new("blueprint.yaml", text)]).await;
    }
}

/// The three of them in `shop/dev`, of which nothing is real.
async fn chain(acme: &Client, follows: bool) {
    acme.deployments().create(NET, "network@1.0.0").send().await.expect("a network");
    let db = acme.deployments().create(DB, "database@1.0.0").apply_on_dependency_change(follows);
    db.input("network", "shop/dev/net#id").input("key", "shop/dev/net#key").send().await.expect("a database");
    let web = acme.deployments().create(SITE, "web@1.0.0").apply_on_dependency_change(follows);
    let web = web.input("hosts", json!(["shop/dev/db#host", "shop/dev/net#id"])).input("password", "shop/dev/db#password");
    web.send().await.expect("a site");
}

async fn apply(acme: &Client, name: &str) -> RunHandle {
    acme.runs().plan(name).auto_apply().send().await.expect("a run")
}

async fn applied(acme: &Client, name: &str) {
    apply(acme, name).await.wait_done().await.expect("it ends").into_result().expect("well");
}

async fn read(acme: &Client, name: &str) -> Deployment {
    acme.deployments().get(name).send().await.expect("it is there")
}

/// Waits until a deployment has this revision and all its runs have ended; answers how many of them were to change it.
async fn settled(acme: &Client, name: &str, revision: i64) -> usize {
    eventually("a deployment to be at rest", || async {
        let runs = acme.runs().list(name).collect_up_to(100).await.expect("runs");
        let now = read(acme, name).await;
        if now.observed_revision == revision && runs.iter().all(|run| run.is_done()) {
            Ok(runs.iter().filter(|run| run.kind != RunKind::Plan).count())
        } else {
            Err((now, runs))
        }
    })
    .await
}

/// Waits until a run waits for this.
async fn waits(acme: &Client, run: &RunHandle, resource: &str) {
    eventually("a run to wait for another deployment", || async {
        let run = acme.runs().get(&run.run().name).send().await.expect("a run").into_run();
        let waits = run.waiting_on.as_ref().is_some_and(|on| {
            on.reason == WaitingReason::Dependency && on.resource.as_deref().is_some_and(|named| named.contains(resource))
        });
        if waits { Ok(()) } else { Err(run) }
    })
    .await;
}

fn follows_change(deployment: &Deployment) -> bool {
    deployment.conditions.iter().any(|condition| condition.kind == DeploymentConditionType::DependencyChanged)
}

both_databases!(outputs_of_one_deployment_are_inputs_of_the_next);

async fn outputs_of_one_deployment_are_inputs_of_the_next(database: Database) {
    let world = World::new(database).await.shop().await;
    publish_all(&world).await;
    let acme = &world.admin;
    chain(acme, true).await;

    // Begun in the wrong order, they are made in the right one, and each says meanwhile for what it waits.
    let (site, db) = (apply(acme, SITE).await, apply(acme, DB).await);
    let _runner = world.runner();
    waits(acme, &db, "deployments/net").await;
    waits(acme, &site, &db.run().name).await;
    let told = acme.runs().explain(&site.run().name).send().await.expect("an explanation");
    assert_eq!(told.waiting_on.map(|on| on.reason), Some(WaitingReason::Dependency));
    assert!(told.blockers.iter().any(|blocker| blocker.resource == db.run().name), "{:?}", told.blockers);
    let net = apply(acme, NET).await;
    for run in [net, db, site.clone()] {
        run.wait_done().await.expect("it ends").into_result().expect("well");
    }
    assert_eq!(world.made("web.txt").as_deref(), Some("net-one/db,net-one hush-one-pw hello\n"));

    // What was taken is on the run and on its plan; what nobody may read is nowhere.
    let run = acme.runs().get(&site.run().name).send().await.expect("a run");
    let plan = run.plan().await.expect("a plan");
    assert_eq!(plan.dependencies, run.run().dependencies);
    let taken: BTreeMap<_, _> = plan.dependencies.iter().map(|taken| (taken.deployment.as_str(), taken)).collect();
    let db_name = "tenants/acme/projects/shop/environments/dev/deployments/db";
    assert_eq!((taken.len(), taken[db_name].revision, taken[db_name].bindings.len()), (2, Some(1), 2));
    let shown = read(acme, SITE).await.inputs;
    assert_eq!(shown.get("hosts"), Some(&json!(["shop/dev/db#host", "shop/dev/net#id"])));
    for text in [format!("{plan:?}"), format!("{run:?}"), format!("{shown:?}"), world.replica.process.said()] {
        assert!(!text.contains("hush"), "{text}");
    }

    // One change goes through the whole graph, once for each, though the last one needs both of the others.
    let name = Map::from_iter([("name".to_owned(), Value::from("two"))]);
    acme.deployments().update(NET).inputs(name).send().await.expect("a wish");
    applied(acme, NET).await;
    assert_eq!((settled(acme, DB, 2).await, settled(acme, SITE, 2).await), (2, 2));
    assert_eq!(world.made("web.txt").as_deref(), Some("net-two/db,net-two hush-two-pw hello\n"));
    let last = acme.runs().list(SITE).newest_first().send().await.expect("runs").items.remove(0);
    assert_eq!((last.create_principal.as_str(), last.kind, last.auto_apply), ("server", RunKind::Apply, true));

    // A change that is not one of outputs is nobody else's business.
    let label = Map::from_iter([("name".to_owned(), Value::from("two")), ("label".to_owned(), Value::from("x"))]);
    acme.deployments().update(NET).inputs(label).send().await.expect("a wish");
    applied(acme, NET).await;
    let look = acme.runs().plan(SITE).speculative().send().await.expect("a look").wait_done().await.expect("it ends");
    assert_eq!(look.run().plan_summary.as_ref().map(|numbers| numbers.unchanged), Some(1), "the new outputs are the old ones");
    assert_eq!((settled(acme, DB, 2).await, settled(acme, SITE, 2).await), (2, 2));

    // A rollback takes what was taken then, and the wish stays what it was: a reference.
    let back = acme.runs().rollback(DB, 1).auto_apply().send().await.expect("a run");
    back.wait_done().await.expect("it ends").into_result().expect("well");
    assert_eq!(world.made("db.txt").as_deref(), Some("db in net-one\n"));
    assert_eq!(settled(acme, SITE, 3).await, 3, "who needs it follows");
    assert_eq!(world.made("web.txt").as_deref(), Some("net-one/db,net-two hush-one-pw hello\n"));
    let db = read(acme, DB).await;
    assert_eq!((db.inputs.get("network"), follows_change(&db)), (Some(&Value::from("shop/dev/net#id")), true), "{db:?}");
    let unused = Map::from_iter([("name".to_owned(), Value::from("two")), ("label".to_owned(), Value::from("y"))]);
    acme.deployments().update(NET).inputs(unused).send().await.expect("a wish");
    applied(acme, NET).await;
    at_rest(&world.installation.database_url).await;
    assert_eq!(settled(acme, DB, 3).await, 3, "nobody undoes a rollback");
    applied(acme, DB).await;
    assert_eq!((world.made("db.txt").as_deref(), follows_change(&read(acme, DB).await)), (Some("db in net-two\n"), false));
}

both_databases!(what_cannot_be_taken_is_refused_when_it_is_said);

async fn what_cannot_be_taken_is_refused_when_it_is_said(database: Database) {
    let world = World::new(database).await.shop().await;
    publish_all(&world).await;
    let acme = &world.admin;
    let wish =
        |network: &str, key: &str| acme.deployments().create(DB, "database@1.0.0").input("network", network).input("key", key);
    let absent = wish("shop/dev/net#id", "shop/dev/net#key").send().await.expect_err("there is no network");
    assert!(format!("{absent:?}").contains("deployment.inputs.network"), "{absent:?}");
    chain(acme, false).await;
    acme.deployments().delete(SITE).send().await.expect("it is new");
    acme.deployments().delete(DB).send().await.expect("it is new");

    let refused = wish("shop/dev/net#idd", "shop/dev/net#key").send().await.expect_err("there is no such output");
    assert!(refused.is_invalid_argument() && refused.message().contains("it has id, key"), "{refused:?}");
    let refused = wish("shop/dev/net#key", "shop/dev/net#key").send().await.expect_err("a secret for all to see");
    assert!(refused.is_invalid_argument() && refused.message().contains("sensitive: true"), "{refused:?}");
    let rival = world.tenant("rival").await;
    rival.projects().create("shop").send().await.expect("a project");
    rival.environments().create("shop/dev", EnvironmentKind::Dev).send().await.expect("an environment");
    let foreign = acme.deployments().update(NET).depends_on(["tenants/rival/projects/shop/environments/dev/deployments/x"]);
    let refused = foreign.send().await.expect_err("of another tenant");
    assert!(refused.is_invalid_argument() && refused.message().contains("same tenant"), "{refused:?}");

    chain_again(acme).await;
    let circle = acme.deployments().update(NET).depends_on([SITE]).send().await.expect_err("a circle");
    assert!(circle.is_invalid_argument(), "{circle:?}");
    assert!(circle.message().contains("shop/dev/db → shop/dev/net → shop/dev/web → shop/dev/db"), "{circle:?}");
    let own = acme.deployments().update(NET).depends_on([NET]).send().await.expect_err("itself");
    assert!(own.message().contains("shop/dev/net → shop/dev/net"), "{own:?}");

    // Who may write a deployment may not thereby read the outputs of every other one.
    acme.environments().create("shop/prod", EnvironmentKind::Prod).send().await.expect("an environment");
    acme.deployments().create("shop/prod/net", "network@1.0.0").send().await.expect("a network");
    let eve = world.person("acme", "eve", &[]).await;
    acme.access().bind("developer", "users/eve").on("shop/dev").send().await.expect("a role");
    let own = |id: &str, network: &str| {
        let own = eve.deployments().create(format!("shop/dev/{id}"), "database@1.0.0");
        own.input("key", "shop/dev/net#key").input("network", network).send()
    };
    own("eve", "shop/dev/net#id").await.expect("in her own environment");
    let refused = own("thief", "shop/prod/net#id").await.expect_err("in another one");
    assert!(refused.is_permission_denied(), "{refused:?}");
    assert_eq!(refused.metadata("permission"), Some("deployments.outputs.bind"));

    let graph = acme.deployments().graph("shop/dev").send().await.expect("a graph");
    let order: Vec<&str> = graph.nodes.iter().map(|node| node.deployment.rsplit('/').next().expect("an id")).collect();
    assert_eq!((order, graph.edges.len()), (vec!["net", "db", "eve", "web"], 3));
    assert!(graph.to_dot().contains("\"shop/dev/web\" -> \"shop/dev/db\" [label=\"host, password\"];"), "{}", graph.to_dot());
    assert_eq!(acme.deployments().graph("").send().await.expect("a graph").nodes.len(), 5);
}

async fn chain_again(acme: &Client) {
    let db = acme.deployments().create(DB, "database@1.0.0").input("network", "shop/dev/net#id").input("key", "shop/dev/net#key");
    db.send().await.expect("a database");
    let web = acme.deployments().create(SITE, "web@1.0.0").input("hosts", json!(["shop/dev/db#host"]));
    web.input("password", "shop/dev/db#password").send().await.expect("a site");
}

both_databases!(a_plan_of_outputs_that_changed_is_stale_and_drift_gates_where_it_shall);

async fn a_plan_of_outputs_that_changed_is_stale_and_drift_gates_where_it_shall(database: Database) {
    let world = World::new(database).await.shop().await;
    publish_all(&world).await;
    let _runner = world.runner();
    let acme = &world.admin;
    chain(acme, false).await;
    for name in [NET, DB, SITE] {
        applied(acme, name).await;
    }
    let greeting =
        Map::from_iter([("hosts".to_owned(), json!(["shop/dev/db#host"])), ("greeting".to_owned(), Value::from("bye"))]);
    acme.deployments().update(SITE).inputs(greeting).send().await.expect("a wish");
    let planned = acme.runs().plan(SITE).send().await.expect("a run");
    let planned = planned.wait_until(RunPhase::AwaitingApproval).await.expect("a plan");
    for (name, value) in [(NET, "two")] {
        let inputs = Map::from_iter([("name".to_owned(), Value::from(value))]);
        acme.deployments().update(name).inputs(inputs).send().await.expect("a wish");
        applied(acme, name).await;
    }
    applied(acme, DB).await;
    let stale = planned.apply().send().await.expect("to be applied").wait_done().await.expect("it ends");
    assert_eq!(stale.run().outcome, Some(RunOutcome::Stale), "{:?}", stale.run());
    assert_eq!(world.made("web.txt").as_deref(), Some("net-one/db,net-one hush-one-pw hello\n"));
    eventually("the site to say that what it took has changed", || async {
        let site = read(acme, SITE).await;
        if follows_change(&site) { Ok(()) } else { Err(site) }
    })
    .await;
    applied(acme, SITE).await;
    assert_eq!(world.made("web.txt").as_deref(), Some("net-two/db hush-two-pw bye\n"));
    assert!(!follows_change(&read(acme, SITE).await));

    // Drift of what it needs is no obstacle, unless somebody says so.
    std::fs::write(world.installation.path("files/acme/db.txt"), "spoilt").expect("a file");
    let look = acme.runs().detect_drift(DB).send().await.expect("a run").wait_done().await.expect("it ends");
    look.into_result().expect("well");
    assert!(read(acme, DB).await.drifted);
    applied(acme, SITE).await;
    acme.deployments().update(SITE).require_undrifted_dependencies(true).send().await.expect("a rule");
    let gated = apply(acme, SITE).await;
    waits(acme, &gated, "deployments/db").await;
    applied(acme, DB).await;
    let outcome = gated.wait_done().await.expect("it ends").into_run().outcome;
    assert_eq!(outcome, Some(RunOutcome::NoChanges));
}

both_databases!(an_environment_is_removed_backwards);

async fn an_environment_is_removed_backwards(database: Database) {
    let world = World::new(database).await.shop().await;
    publish_all(&world).await;
    let _runner = world.runner();
    let acme = &world.admin;
    chain(acme, false).await;
    for name in [NET, DB, SITE] {
        applied(acme, name).await;
    }
    let refused = acme.runs().destroy(NET).send().await.expect_err("others need it");
    assert_eq!(refused.reason(), Some("RESOURCE_IN_USE"));
    assert!(refused.message().contains("shop/dev/db, shop/dev/web"), "{refused:?}");
    acme.deployments().update(DB).deletion_protection(true).send().await.expect("a protection");
    let refused = acme.runs().destroy_environment("shop/dev").send().await.expect_err("one is protected");
    assert!(refused.is_failed_precondition() && refused.message().contains(DB), "{refused:?}");
    acme.deployments().update(DB).deletion_protection(false).send().await.expect("none");

    let runs = acme.runs().destroy_environment("shop/dev").send().await.expect("runs");
    let names: Vec<&str> = runs.iter().map(|run| run.run().name.split('/').nth(7).expect("an id")).collect();
    assert_eq!(names, ["web", "db", "net"]);
    let mut planned = Vec::new();
    for run in runs {
        planned.push(run.wait_until(RunPhase::AwaitingApproval).await.expect("a plan"));
    }
    // Each is decided on by itself. Of those that wait for others nothing goes before them.
    let net = planned.remove(2).apply().send().await.expect("to be applied");
    waits(acme, &net, "deployments/db").await;
    let again = acme.runs().destroy_environment("shop/dev").auto_apply().send().await.expect("the same runs");
    assert_eq!(again[2].run().name, net.run().name);
    for run in planned {
        run.apply().send().await.expect("to be applied").wait_done().await.expect("it ends").into_result().expect("well");
    }
    net.wait_done().await.expect("it ends").into_result().expect("well");
    for name in [NET, DB, SITE] {
        assert_eq!(read(acme, name).await.state, DeploymentState::Destroyed, "{name}");
    }
    assert_eq!(acme.runs().destroy_environment("shop/dev").send().await.expect("nothing to do").len(), 0);
    let refused = acme.deployments().delete(NET).send().await.expect_err("others still name it");
    assert!(refused.is_failed_precondition() && refused.message().contains(DB), "{refused:?}");
    for name in [SITE, DB, NET] {
        acme.deployments().delete(name).send().await.expect("deleted");
    }
}

both_databases!(what_is_abandoned_is_listed_and_left_alone);

async fn what_is_abandoned_is_listed_and_left_alone(database: Database) {
    let world = World::new(database).await.shop().await;
    publish_all(&world).await;
    let _runner = world.runner();
    let acme = &world.admin;
    chain(acme, false).await;
    let nothing = acme.deployments().abandon(NET, "not needed").send().await.expect_err("nothing of it is real");
    assert!(nothing.is_failed_precondition(), "{nothing:?}");
    for name in [NET, DB, SITE] {
        applied(acme, name).await;
    }
    let ada = world.person("acme", "ada", &["developer"]).await;
    let refused = ada.deployments().abandon(SITE, "mine").send().await.expect_err("not hers to decide");
    assert_eq!(refused.metadata("permission"), Some("deployments.deployments.abandon"));
    let refused = ada.deployments().delete(SITE).force().send().await.expect_err("the same by another name");
    assert_eq!(refused.metadata("permission"), Some("deployments.deployments.abandon"));
    let refused = acme.deployments().abandon(SITE, " ").send().await.expect_err("without a reason");
    assert!(refused.is_invalid_argument(), "{refused:?}");
    let refused = acme.deployments().abandon(DB, "moved away").send().await.expect_err("the site needs it");
    assert!(refused.is_failed_precondition() && refused.message().contains(SITE), "{refused:?}");

    let used = async || acme.quotas().get("deployments").send().await.expect("a quota").used;
    assert_eq!(used().await, 3);
    let abandoned = acme.deployments().abandon(SITE, "moved to another team").send().await.expect("abandoned");
    let left = abandoned.abandonment.expect("what is left");
    assert_eq!((left.addresses.as_slice(), left.reason.as_str()), (&["file.web".to_owned()][..], "moved to another team"));
    assert_eq!((abandoned.state, used().await), (DeploymentState::Abandoned, 2));
    assert!(world.made("web.txt").is_some(), "what it made stays");
    let trail = acme.audit().list().collect_up_to(100).await.expect("the trail");
    let told = trail.iter().find(|record| record.method.ends_with("/AbandonDeployment") && record.reason.is_none());
    let told = format!("{:?}", told.expect("a record"));
    assert!(told.contains("file.web") && told.contains("moved to another team"), "{told}");

    for refused in
        [acme.runs().plan(SITE).send().await, acme.runs().destroy(SITE).send().await, acme.runs().detect_drift(SITE).send().await]
    {
        assert_eq!(refused.expect_err("nothing may be done to it").metadata("state"), Some("ABANDONED"));
    }
    let refused = acme.deployments().update(SITE).display_name("x").send().await.expect_err("nor this");
    assert!(refused.is_failed_precondition(), "{refused:?}");
    assert_eq!(acme.deployments().list_revisions(SITE).collect_up_to(10).await.expect("revisions").len(), 1, "kept");
    acme.runs().destroy(DB).auto_apply().send().await.expect("nobody needs it").wait_done().await.expect("it ends");
    acme.deployments().delete(SITE).send().await.expect("deleted before its time");
    assert_eq!((used().await, acme.quotas().recount("deployments").send().await.expect("a recount").difference), (2, 0));
}

/// A state that has vanished is no empty state.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_whose_state_is_missing_is_quarantined() {
    let world = World::new(Database::Sqlite).await.shop().await;
    publish_all(&world).await;
    let _runner = world.runner();
    let acme = &world.admin;
    chain(acme, false).await;
    applied(acme, NET).await;
    world.installation.execute("DELETE FROM payloads WHERE kind = 'state'").await;
    let run = apply(acme, NET).await.wait_done().await.expect("it ends").into_run();
    assert_eq!((run.outcome, run.error.map(|error| error.code)), (Some(RunOutcome::Failed), Some("state-missing".to_owned())));
    assert_eq!(read(acme, NET).await.state, DeploymentState::Quarantined);
    let refused = acme.runs().destroy(NET).send().await.expect_err("nobody knows what exists");
    assert_eq!(refused.metadata("state"), Some("QUARANTINED"));
    let db = apply(acme, DB).await;
    waits(acme, &db, "deployments/net").await;
    db.cancel().send().await.expect("cancelled");
    acme.deployments().abandon(NET, "the state is lost").send().await.expect("what is left to do");
}

both_databases!(a_change_is_followed_once_whenever_the_server_dies);

async fn a_change_is_followed_once_whenever_the_server_dies(database: Database) {
    for point in ["update.begun", "update.written", "update.committed"] {
        let fault = format!("{point}:1");
        follow(database, &[("FREEHOLD_FAULT", &fault)]).await.unwrap_or_else(|violation| panic!("{point}: {violation}"));
    }
}

/// Lets the server die as it is told while it follows a change, and says what is not as it must be.
async fn follow(database: Database, variables: &[(&str, &str)]) -> Result<(), String> {
    let World { installation, replica, admin } = World::new(database).await.shop().await;
    let world = World { installation, replica, admin };
    publish_all(&world).await;
    let acme = world.admin.clone();
    chain(&acme, true).await;
    let runner: RunnerProcess = world.runner();
    for name in [NET, DB, SITE] {
        applied(&acme, name).await;
    }
    at_rest(&world.installation.database_url).await;
    let World { installation, mut replica, .. } = world;
    // The same server from here on, as one that can be told to die.
    replica.process.kill();
    let mut replica = installation.again(&replica, variables).await;
    let name = Map::from_iter([("name".to_owned(), Value::from("two"))]);
    acme.deployments().update(NET).inputs(name).send().await.expect("a wish");
    acme.runs().plan(NET).auto_apply().send().await.expect("a run");
    let status = replica.process.wait().await;
    if status.code().is_some() {
        return Err(format!("it ended by itself: {}", replica.process.said()));
    }
    let replica = installation.again(&replica, &[]).await;
    let runs = (settled(&acme, DB, 2).await, settled(&acme, SITE, 2).await);
    drop((runner, replica));
    let made = std::fs::read_to_string(installation.path("files/acme/web.txt")).unwrap_or_default();
    let told = (runs, made.as_str());
    if told == ((2, 2), "net-two/db,net-two hush-two-pw hello\n") { Ok(()) } else { Err(format!("{told:?}")) }
}

/// Waits until no change is left to be followed.
async fn at_rest(database_url: &str) {
    const DUE: &str = "SELECT COUNT(*) FROM dependencies WHERE due IS NOT NULL";
    eventually("all changes to be followed", || async {
        let due: i64 = match database_url.strip_prefix("sqlite:") {
            Some(path) => {
                let mut session = SqliteConnectOptions::new().filename(path).connect().await.expect("a session");
                sqlx::query_scalar(DUE).fetch_one(&mut session).await.expect("a count")
            }
            None => {
                let options: PgConnectOptions = database_url.parse().expect("a URL");
                let mut session = options.connect().await.expect("a session");
                sqlx::query_scalar(DUE).fetch_one(&mut session).await.expect("a count")
            }
        };
        if due == 0 { Ok(()) } else { Err(due) }
    })
    .await;
}

/// Two replicas see the same change at the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_followed_once_by_two_replicas() {
    let World { installation, mut replica, admin: acme } = {
        let world = World::new(Database::Postgres).await.shop().await;
        publish_all(&world).await;
        world
    };
    let runner = installation.runner(&[replica.runner], "runner", &[]);
    chain(&acme, false).await;
    for name in [NET, DB, SITE] {
        applied(&acme, name).await;
    }
    let name = Map::from_iter([("name".to_owned(), Value::from("two"))]);
    acme.deployments().update(NET).inputs(name).send().await.expect("a wish");
    applied(&acme, NET).await;
    at_rest(&installation.database_url).await;
    acme.deployments().update(DB).apply_on_dependency_change(true).send().await.expect("a wish");
    drop(runner);
    replica.process.signal("TERM");
    replica.process.wait().await;

    installation.execute("UPDATE dependencies SET due = 1").await;
    let ((one, _), (other, _)) = tokio::join!(open(&installation.database_url), open(&installation.database_url));
    let (first, second) = tokio::join!(updates::follow(&one), updates::follow(&other));
    assert_eq!(first.expect("followed") + second.expect("followed"), 1, "the database; the site waits for its end");
    let replica = installation.replica(&[]).await;
    let acme = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    let runs = acme.runs().list(DB).collect_up_to(10).await.expect("runs");
    assert_eq!(runs.iter().map(|run| run.outcome).collect::<Vec<_>>(), [Some(RunOutcome::Succeeded), None], "{runs:?}");
}
