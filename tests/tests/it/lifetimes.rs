//! Deployments that end by themselves: reminded of once, removed by a run, kept by protection, extended within limits.

use std::{sync::Arc, time::Duration};

use freehold::{
    Client, Deployment, DeploymentConditionType, DeploymentState, EnvironmentKind, RunKind, RunOutcome, RunPhase, Timestamp,
};
use freehold_service::lifetimes;
use freehold_tests::{Database, World, eventually};
use sqlx::ConnectOptions as _;

use crate::later::open;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

async fn hello(acme: &Client, name: &str, ttl: Option<Duration>, protected: bool) {
    let wish = acme.deployments().create(name, "greeting@1.0.0").input("name", "world").deletion_protection(protected);
    let wish = match ttl {
        Some(ttl) => wish.ttl(ttl),
        None => wish,
    };
    wish.send().await.expect("a deployment");
}

async fn applied(acme: &Client, name: &str) {
    let run = acme.runs().plan(name).auto_apply().send().await.expect("a run");
    run.wait_done().await.expect("it ends").into_result().expect("well");
}

async fn read(acme: &Client, name: &str) -> Deployment {
    acme.deployments().get(name).send().await.expect("it is there")
}

/// What the deployment says of its end.
fn said(deployment: &Deployment) -> Option<(DeploymentConditionType, &str)> {
    deployment.conditions.first().map(|condition| (condition.kind, condition.message.as_str()))
}

/// Waits until the deployment says this.
async fn says(acme: &Client, name: &str, words: &str) -> Deployment {
    eventually("a deployment to say that it has ended", || async {
        let deployment = read(acme, name).await;
        let says =
            said(&deployment).is_some_and(|(kind, text)| kind == DeploymentConditionType::TtlExpired && text.contains(words));
        if says { Ok(deployment) } else { Err(deployment) }
    })
    .await
}

/// How often this was announced of deployments with this id.
async fn announced(database_url: &str, kind: &str, id: &str) -> usize {
    let bodies: Vec<String> = match database_url.strip_prefix("sqlite:") {
        Some(path) => {
            let mut session = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.expect("a session");
            sqlx::query_scalar("SELECT body FROM outbox").fetch_all(&mut session).await.expect("events")
        }
        None => {
            let options: sqlx::postgres::PgConnectOptions = database_url.parse().expect("a URL");
            let mut session = options.connect().await.expect("a session");
            sqlx::query_scalar("SELECT body FROM outbox").fetch_all(&mut session).await.expect("events")
        }
    };
    let event = |body: &String| serde_json::from_str::<serde_json::Value>(body).expect("an event");
    let is = |event: &serde_json::Value| {
        event["kind"] == kind && event["resource"].as_str().is_some_and(|name| name.ends_with(&format!("/deployments/{id}")))
    };
    bodies.iter().map(event).filter(is).count()
}

both_databases!(an_end_is_told_twice_and_then_a_run_removes_it_once);

async fn an_end_is_told_twice_and_then_a_run_removes_it_once(database: Database) {
    let World { installation, mut replica, admin: acme } = World::new(database).await.with_sample().await;
    let two_days = Duration::from_secs(2 * DAY);
    acme.environments()
        .update("shop/dev")
        .default_ttl(Some(two_days))
        .max_ttl(Some(4 * two_days))
        .send()
        .await
        .expect("a policy");
    let runner = installation.runner(&[replica.runner], "runner", &[]);
    for name in ["shop/dev/mortal", "shop/dev/kept"] {
        hello(&acme, name, None, name.ends_with("kept")).await;
        applied(&acme, name).await;
    }
    hello(&acme, "shop/dev/idle", Some(4 * two_days), false).await;
    acme.deployments().update("shop/dev/idle").max_idle(Some(two_days)).send().await.expect("a wish");
    applied(&acme, "shop/dev/idle").await;
    let (mortal, idle) = (read(&acme, "shop/dev/mortal").await, read(&acme, "shop/dev/idle").await);
    assert_eq!(mortal.end_time, mortal.expire_time);
    assert!(idle.end_time < idle.expire_time, "left alone it ends sooner: {idle:?}");
    drop(runner);
    replica.process.signal("TERM");
    replica.process.wait().await;

    // Two replicas where there can be two; each looks as often as it likes.
    let url = installation.database_url.as_str();
    let open = async || {
        let (app, clock) = open(url).await;
        (Arc::new(app), clock)
    };
    let (one, clock) = open().await;
    let (other, other_clock) = match database {
        Database::Postgres => open().await,
        Database::Sqlite => (Arc::clone(&one), Arc::clone(&clock)),
    };
    let look = async |hours: u64| {
        clock.set(hours * HOUR);
        other_clock.set(hours * HOUR);
        for _ in 0..2 {
            let (one, other) = tokio::join!(lifetimes::attend(&one), lifetimes::attend(&other));
            one.and(other).expect("seen to");
        }
        (announced(url, "deployment.expiring", "mortal").await, announced(url, "deployment.expired", "mortal").await)
    };
    assert_eq!(look(23).await, (0, 0));
    assert_eq!(look(25).await, (1, 0), "a day before");
    assert_eq!(look(46).await, (1, 0));
    assert_eq!(look(47).await, (2, 0), "an hour before");
    assert_eq!(look(48).await, (2, 1), "the end");
    assert_eq!(look(49).await, (2, 1));
    one.store().close().await;
    other.store().close().await;
    drop((one, other));

    let replica = installation.replica(&[]).await;
    let acme = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    let kept = read(&acme, "shop/dev/kept").await;
    assert!(said(&kept).is_some_and(|(_, words)| words.contains("deletion protection")), "{kept:?}");
    let refused = acme.runs().plan("shop/dev/mortal").send().await.expect_err("its time is over");
    assert_eq!(refused.metadata("state"), Some("TTL_EXPIRED"));
    let _runner = installation.runner(&[replica.runner], "runner", &[]);
    for (name, state) in
        [("mortal", DeploymentState::Destroyed), ("idle", DeploymentState::Destroyed), ("kept", DeploymentState::Active)]
    {
        let name = format!("shop/dev/{name}");
        let removals = async || {
            let runs = acme.runs().list(&name).collect_up_to(20).await.expect("runs");
            runs.into_iter().filter(|run| run.kind == RunKind::Destroy).collect::<Vec<_>>()
        };
        let begun = removals().await;
        assert_eq!(begun.len(), usize::from(state == DeploymentState::Destroyed), "{name}: {begun:?}");
        assert!(begun.iter().all(|run| run.create_principal == "server"), "{begun:?}");
        eventually("the removal to end", || async {
            let found = read(&acme, &name).await;
            if found.state == state && found.active_run.is_none() { Ok(()) } else { Err(found) }
        })
        .await;
        assert_eq!(removals().await.len(), begun.len(), "{name} is removed once");
    }
}

both_databases!(protection_wins_approvals_are_asked_and_who_extends_it_keeps_it);

async fn protection_wins_approvals_are_asked_and_who_extends_it_keeps_it(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let acme = &world.admin;
    let _runner = world.runner();
    acme.environments().create("shop/prod", EnvironmentKind::Prod).send().await.expect("an environment");
    acme.environments().update("shop/dev").max_ttl(Some(Duration::from_secs(DAY))).send().await.expect("a policy");

    // More than the environment allows is refused, at once and later.
    let wish = acme.deployments().create("shop/dev/long", "greeting@1.0.0").input("name", "world");
    let refused = wish.ttl(Duration::from_secs(2 * DAY)).send().await.expect_err("too long");
    assert!(refused.is_invalid_argument() && format!("{refused:?}").contains("deployment.ttl"), "{refused:?}");
    hello(acme, "shop/dev/long", None, false).await;
    assert!(read(acme, "shop/dev/long").await.expire_time.is_some(), "nobody outlives the most");
    let refused =
        acme.deployments().extend("shop/dev/long").ttl(Duration::from_secs(DAY + HOUR)).send().await.expect_err("too long");
    assert!(refused.is_invalid_argument() && refused.message().contains("1d"), "{refused:?}");
    let past = acme.deployments().extend("shop/dev/long").until(Timestamp::UNIX_EPOCH).send().await.expect_err("in the past");
    assert!(past.is_invalid_argument(), "{past:?}");
    let vera = world.person("acme", "vera", &["viewer"]).await;
    let refused = vera.deployments().extend("shop/dev/long").ttl(Duration::from_secs(HOUR)).send().await.expect_err("not hers");
    assert_eq!(refused.metadata("permission"), Some("deployments.deployments.extend"));

    // What is protected stays, and goes when it is not protected any more.
    hello(acme, "shop/dev/kept", None, true).await;
    applied(acme, "shop/dev/kept").await;
    acme.deployments().extend("shop/dev/kept").ttl(Duration::from_secs(1)).send().await.expect("a sooner end");
    says(acme, "shop/dev/kept", "deletion protection").await;
    assert_eq!(announced(&world.installation.database_url, "deployment.expired", "kept").await, 1);
    assert_eq!(read(acme, "shop/dev/kept").await.state, DeploymentState::Active);
    acme.deployments().update("shop/dev/kept").deletion_protection(false).send().await.expect("a wish");
    eventually("the end", || async {
        let kept = read(acme, "shop/dev/kept").await;
        if kept.state == DeploymentState::Destroyed { Ok(()) } else { Err(kept) }
    })
    .await;

    // In production a removal waits for an approval like any other, and an extension takes it back.
    let ada = world.person("acme", "ada", &["approver"]).await;
    hello(acme, "shop/prod/web", None, false).await;
    let run = acme.runs().plan("shop/prod/web").send().await.expect("a run");
    let run = run.wait_until(RunPhase::AwaitingApproval).await.expect("a plan");
    ada.runs().approve(&run).send().await.expect("approved").wait_done().await.expect("it ends").into_result().expect("well");
    acme.deployments().extend("shop/prod/web").ttl(Duration::from_secs(2)).send().await.expect("an end");
    says(acme, "shop/prod/web", "a run removes it").await;
    let removal = async || {
        let last = acme.runs().list("shop/prod/web").newest_first().send().await.expect("runs").items.remove(0);
        acme.runs().get(&last.name).send().await.expect("a run")
    };
    let waiting = removal().await.wait_until(RunPhase::AwaitingApproval).await.expect("a plan");
    assert_eq!((waiting.run().kind, waiting.run().approval_required), (RunKind::Destroy, true));
    let longer =
        acme.deployments().extend("shop/prod/web").ttl(Duration::from_secs(3600 * 24 * 60)).send().await.expect("extended");
    assert_eq!((longer.state, said(&longer)), (DeploymentState::Active, None));
    assert_eq!(waiting.wait_done().await.expect("it ends").run().outcome, Some(RunOutcome::Cancelled));
}
