//! The queue of a runner pool: many tenants, few runners.

use std::{collections::BTreeMap, time::Duration};

use crate::scripted_runner::{Runner, planned};
use freehold::{Client, WaitingReason};
use freehold_domain::queue::TURN;
use freehold_store::queue::HEADS;
use freehold_tests::{Database, Installation, World, armed, furnish, until};
use futures::{StreamExt as _, future::join_all, stream};
use sqlx::{ConnectOptions as _, Executor as _, postgres::PgConnectOptions, sqlite::SqliteConnectOptions};
use tokio::sync::Mutex;

const TENANTS: usize = 50;
const EACH: usize = 20;
const RUNNERS: usize = 4;

/// What a tenant may have, compared with others: every fifth one has three times as much as the rest.
fn weight(tenant: usize) -> i32 {
    if tenant.is_multiple_of(5) { 3 } else { 1 }
}

/// After how many jobs of all tenants together this one would have had so many, if jobs could be divided at will (generalised
/// processor sharing, Parekh and Gallager 1993): until then each tenant has had its weight's worth, or all that it wants.
fn fair(tenant: usize, jobs: usize) -> f64 {
    let turns = jobs as f64 / f64::from(weight(tenant));
    (0..TENANTS).map(|other| (f64::from(weight(other)) * turns).min(EACH as f64)).sum()
}

both_databases!(a_thousand_runs_of_fifty_tenants_are_given_out_in_fair_order);

/// Measured is the place of each job in the order in which all runners together were given jobs, and not time, so that a busy
/// machine changes nothing. The last job of each tenant may be 1.2 times as late as in [`fair`] order, and each of its jobs by
/// one job of every tenant more.
async fn a_thousand_runs_of_fifty_tenants_are_given_out_in_fair_order(database: Database) {
    let world = World::new(database).await;
    let names = fill(&world).await;
    let acme = &world.admin;

    // Nobody is there to take them.
    let some: Vec<&String> = names.iter().step_by(97).collect();
    for why in join_all(some.iter().map(|name| acme.runs().explain(name).send())).await {
        let why = why.expect("an answer");
        let reason = why.waiting_on.as_ref().map(|on| on.reason);
        assert_eq!((reason, why.queue_position), (Some(WaitingReason::RunnersAbsent), None), "{why:?}");
    }

    // Runners that have said that they live, and take the first four jobs.
    let mut runners = Vec::new();
    for number in 0..RUNNERS {
        let mut runner = Runner::named(&world, &format!("q{number}")).await;
        runner.beat("native", 1).await;
        runners.push(runner);
    }
    let mut order: Vec<String> = Vec::new();
    let mut jobs = Vec::new();
    for runner in &mut runners {
        let job = runner.ask().await.expect("work");
        order.push(job.run.clone());
        jobs.push(job);
    }
    let mut told = BTreeMap::new();
    for name in names.iter().step_by(41).filter(|name| !order.contains(name)) {
        let why = acme.runs().explain(name).send().await.expect("an answer");
        let reason = why.waiting_on.as_ref().map(|on| on.reason);
        assert_eq!((reason, why.predicted_start_time), (Some(WaitingReason::RunnersBusy), None), "no job has ended: {why:?}");
        told.insert(name.clone(), RUNNERS + why.queue_position.and_then(|place| place.try_into().ok()).unwrap_or(0));
    }

    let given = Mutex::new(order);
    join_all(runners.iter_mut().zip(jobs).map(|(runner, job)| work(runner, job, &given))).await;
    let order = given.into_inner();
    assert_eq!(order.len(), TENANTS * EACH, "every run was given once");

    let worst = judge(&order).unwrap_or_else(|unfair| panic!("{unfair}"));
    println!("{} jobs of {TENANTS} tenants: the last job of none was later than {worst:.3} of its fair place", order.len());

    // Places that were told are those that they had, but for runners that ask at the same time.
    let mut furthest = 0;
    for (name, told) in &told {
        let place = 1 + order.iter().position(|given| given == name).expect("it was given");
        furthest = furthest.max(told.abs_diff(place));
    }
    println!("{} places were told, and none was off by more than {furthest}", told.len());
    assert!(furthest <= RUNNERS, "a place was off by {furthest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_counts_no_shares_is_noticed() {
    let installation = Installation::new(Database::Sqlite).await;
    let replica = installation.start(armed(&installation.serve(&[]), &[("FREEHOLD_MUTANT", "fairness")])).await;
    let admin = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    let world = World { installation, replica, admin };
    fill(&world).await;
    let mut runner = Runner::new(&world).await;
    let given = Mutex::new(Vec::new());
    let first = runner.ask().await.expect("work");
    given.lock().await.push(first.run.clone());
    work(&mut runner, first, &given).await;
    let unfair = judge(&given.into_inner()).expect_err("first come, first served");
    assert!(unfair.contains("of its fair place"), "{unfair}");
}

/// Makes the tenants, each with a deployment, and all their runs; answers the names of the runs.
async fn fill(world: &World) -> Vec<String> {
    let made = stream::iter(0..TENANTS).map(|number| async move {
        let id = format!("t{number}");
        let tenant = world.installation.client(&[world.replica.api], world.installation.pki.credentials("admin"), &id).await;
        tenant.tenants().create(&id).queue_weight(weight(number)).send().await.expect("a tenant");
        furnish(&tenant).await;
        look(&tenant, EACH).await
    });
    made.buffered(6).collect::<Vec<_>>().await.concat()
}

/// Makes a deployment, and so many runs of it that only look; answers their names.
async fn look(tenant: &Client, many: usize) -> Vec<String> {
    tenant.deployments().create("shop/dev/web", "greeting@1.0.0").input("name", "world").send().await.expect("a deployment");
    let mut names = Vec::new();
    for _ in 0..many {
        let run = tenant.runs().plan("shop/dev/web").speculative().keep_queued().send().await.expect("a run");
        names.push(run.into_run().name);
    }
    names
}

/// Ends a job and takes the next one, until there is none; notes each.
async fn work(runner: &mut Runner, mut job: freehold::raw::proto::runners::v1::Job, given: &Mutex<Vec<String>>) {
    loop {
        runner.complete(&job, planned(0, 0)).await;
        if given.lock().await.len() >= TENANTS * EACH {
            return;
        }
        match runner.ask().await {
            Some(next) => {
                given.lock().await.push(next.run.clone());
                job = next;
            }
            None => return,
        }
    }
}

/// How late the last job of a tenant was at most, as a multiple of its fair place; or who was served unfairly.
fn judge(order: &[String]) -> Result<f64, String> {
    let mut had = [0; TENANTS];
    let mut worst: f64 = 0.0;
    for (before, run) in order.iter().enumerate() {
        let tenant = run.split('/').nth(1).and_then(|id| id.strip_prefix('t')?.parse::<usize>().ok()).expect("a tenant");
        had[tenant] += 1;
        let (place, fair) = ((before + 1) as f64, fair(tenant, had[tenant]));
        if place > 1.2 * fair + TENANTS as f64 {
            return Err(format!("job {} of tenant {tenant} came at {place}, {:.2} of its fair place", had[tenant], place / fair));
        }
        if had[tenant] == EACH {
            worst = worst.max(place / fair);
        }
    }
    if worst > 1.2 { Err(format!("the last job of a tenant came at {worst:.2} of its fair place")) } else { Ok(worst) }
}

const LONG: i64 = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_ten_thousand_runs_steps_through_the_index_on_sqlite() {
    let world = long_queue(Database::Sqlite, "randomblob(16)").await;
    let path = world.installation.path("freehold.db");
    let mut db = SqliteConnectOptions::new().filename(path).connect().await.expect("a session");
    let plan = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {HEADS}"));
    let steps: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(plan).bind("runnerPools/default").bind("native").fetch_all(&mut db).await.expect("a plan");
    let steps: Vec<String> = steps.into_iter().map(|(_, _, _, step)| step).collect();
    // What is scanned is made by the statement itself, of a row for each tenant that waits; `head` and `waiting` are read as they come.
    let scanned: Vec<&str> = steps.iter().filter_map(|step| step.strip_prefix("SCAN ")).collect();
    let of_tables: Vec<&&str> =
        scanned.iter().filter(|what| !["CONSTANT ROW", "tenant", "head", "waiting"].contains(what)).collect();
    assert!(of_tables.is_empty(), "every row of a table is read: {steps:#?}");
    let steps_to_tenants = steps.iter().filter(|step| step.contains("runs_waiting (pool=? AND engine=?"));
    assert_eq!(steps_to_tenants.count(), 3, "the first of each tenant is found by the index: {steps:#?}");
    assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "nothing is sorted: {steps:#?}");
    takes_one(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_ten_thousand_runs_reads_a_few_rows_on_postgres() {
    let world = long_queue(Database::Postgres, "gen_random_uuid()").await;
    let options: PgConnectOptions = world.installation.database_url.parse().expect("a URL");
    let mut db = options.connect().await.expect("a session");
    db.execute("ANALYZE").await.expect("statistics");
    let plan = sqlx::AssertSqlSafe(format!("EXPLAIN ANALYZE {HEADS}"));
    let plan: Vec<String> =
        sqlx::query_scalar(plan).bind("runnerPools/default").bind("native").fetch_all(&mut db).await.expect("a plan");
    let rows = rows_of_runs(&plan);
    println!("a look at {LONG} waiting runs of 20 tenants read {rows} rows of runs");
    assert!((20..500).contains(&rows), "{rows} rows were read: {plan:#?}");
    takes_one(&world).await;
}

/// Rows of the table of runs that were read in a plan, those that were thrown away too.
fn rows_of_runs(plan: &[String]) -> i64 {
    let after = |line: &str, word: &str| -> Option<i64> {
        let digits: String = line.split(word).nth(1)?.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    let (mut read, mut loops) = (0, 0);
    for line in plan {
        if let Some(actual) = line.split("(actual").nth(1) {
            let of_runs = line.contains(" on runs");
            loops = if of_runs { after(actual, "loops=").unwrap_or(0) } else { 0 };
            read += after(actual, "rows=").unwrap_or(0) * loops;
        }
        read += after(line, "Rows Removed by Filter:").unwrap_or(0) * loops;
    }
    read
}

/// Twenty tenants, each with a run that waits; and copies of the rows: ten thousand in all, and as many that have ended.
async fn long_queue(database: Database, uid: &str) -> World {
    let world = World::new(database).await;
    for number in 0..20 {
        let tenant = world.tenant(&format!("l{number}")).await;
        furnish(&tenant).await;
        look(&tenant, 1).await;
    }
    let copy = format!(
        "WITH RECURSIVE copies (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM copies WHERE number < {}),
         kinds (phase, waits) AS (VALUES ('QUEUED', 1), ('DONE', NULL))
         INSERT INTO runs (tenant_id, uid, deployment, phase, pool, engine, version, epoch, class, place, body)
         SELECT tenant_id, {uid}, deployment, kinds.phase, pool, engine, version, epoch, class, (place + number) * kinds.waits, body
         FROM runs CROSS JOIN copies CROSS JOIN kinds",
        LONG / 20 - 1
    );
    let rows: u64 = match world.installation.database_url.strip_prefix("sqlite:") {
        Some(path) => {
            let mut db = SqliteConnectOptions::new().filename(path).connect().await.expect("a session");
            sqlx::query(sqlx::AssertSqlSafe(copy)).execute(&mut db).await.expect("copied").rows_affected()
        }
        None => {
            let options: PgConnectOptions = world.installation.database_url.parse().expect("a URL");
            let mut db = options.connect().await.expect("a session");
            sqlx::query(sqlx::AssertSqlSafe(copy)).execute(&mut db).await.expect("copied").rows_affected()
        }
    };
    assert_eq!(i64::try_from(rows).expect("few"), 2 * (LONG - 20));
    world
}

/// A runner is given the run of a tenant, and the tenant has had a turn.
async fn takes_one(world: &World) {
    let mut runner = Runner::new(world).await;
    assert!(runner.ask().await.is_some(), "there is work");
    let counted = format!("SELECT COUNT(*) FROM queue_shares WHERE began = 0 AND ended = {TURN}");
    let counted = sqlx::AssertSqlSafe(counted);
    let turns: i64 = match world.installation.database_url.strip_prefix("sqlite:") {
        Some(path) => {
            let mut db = SqliteConnectOptions::new().filename(path).connect().await.expect("a session");
            sqlx::query_scalar(counted).fetch_one(&mut db).await.expect("a count")
        }
        None => {
            let options: PgConnectOptions = world.installation.database_url.parse().expect("a URL");
            sqlx::query_scalar(counted).fetch_one(&mut options.connect().await.expect("a session")).await.expect("a count")
        }
    };
    assert_eq!(turns, 1);
}

both_databases!(a_tenant_queues_as_many_runs_as_its_quota_allows);

async fn a_tenant_queues_as_many_runs_as_its_quota_allows(database: Database) {
    const LIMIT: i64 = 5;
    let world = World::new(database).await.with_sample().await;
    let acme = &world.admin;
    for number in 0..24 {
        let created = acme.deployments().create(format!("shop/dev/d{number}"), "greeting@1.0.0").input("name", "world");
        created.send().await.expect("a deployment");
    }
    acme.quotas().set_limit("queued_runs", LIMIT).send().await.expect("a limit");
    let all = (0..24).map(|number| acme.runs().plan(format!("shop/dev/d{number}")).send());
    let (won, lost): (Vec<_>, Vec<_>) = join_all(all).await.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 5, "no more than there are places");
    for error in lost.into_iter().filter_map(Result::err) {
        assert!(error.is_quota_exceeded(), "{error:?}");
        let facts = ["dimension", "limit", "reserved", "requested"].map(|key| error.metadata(key));
        assert_eq!(facts, [Some("queued_runs"), Some("5"), Some("5"), Some("1")], "{error:?}");
    }
    let reserved = || async { acme.quotas().get("queued_runs").send().await.expect("a quota").reserved };
    let holders: Vec<_> = acme.quotas().reservations().send().await.expect("who holds them").items;
    assert!(holders.len() == 5 && won.iter().flatten().all(|run| holders.iter().any(|held| held.owner == run.run().name)));

    // Who takes the place of an older run takes its place in the quota as well.
    let first = won.into_iter().next().expect("one of five").expect("a run").into_run();
    let deployment = first.name.split("/runs/").next().expect("a name").to_owned();
    let newer = acme.runs().plan(&deployment).send().await.expect("no more than before");
    let full = acme.runs().plan(&deployment).keep_queued().send().await.expect_err("one more than before");
    assert!(full.is_quota_exceeded() && reserved().await == LIMIT, "{full:?}");

    // A place is free again when a runner begins, and when a run ends before that.
    let mut runner = Runner::new(&world).await;
    let job = runner.ask().await.expect("work");
    assert_eq!(reserved().await, LIMIT - 1);
    let started = acme.runs().get(&job.run).send().await.expect("a run").into_run();
    acme.runs().cancel(&newer.run().name).send().await.expect("cancelled");
    assert_eq!(reserved().await, if started.name == newer.run().name { LIMIT - 1 } else { LIMIT - 2 });
    acme.runs().plan(&deployment).send().await.expect("there is a place");
    let recount = acme.quotas().recount("queued_runs").send().await.expect("a count");
    assert_eq!(recount.difference, 0);
}

both_databases!(a_runner_that_waits_is_given_a_new_run_at_once);

/// A waiting runner is woken by what makes a run takeable: by its creation, and by a place that the tenant has again.
async fn a_runner_that_waits_is_given_a_new_run_at_once(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let acme = &world.admin;
    for name in ["shop/dev/one", "shop/dev/two"] {
        acme.deployments().create(name, "greeting@1.0.0").input("name", "world").send().await.expect("a deployment");
    }
    let (mut runner, mut other) = (Runner::new(&world).await, Runner::named(&world, "second").await);
    acme.quotas().set_limit("concurrent_runs", 1).send().await.expect("a limit");
    let asked = tokio::spawn(async move { (runner.ask_for(Duration::from_secs(20)).await, runner) });
    let one = acme.runs().plan("shop/dev/one").send().await.expect("a run").into_run();
    let (job, mut runner) = asked.await.expect("no panic");
    assert_eq!(job.as_ref().map(|job| job.run.as_str()), Some(one.name.as_str()));

    let two = acme.runs().plan("shop/dev/two").send().await.expect("a run").into_run();
    let asked = tokio::spawn(async move { other.ask_for(Duration::from_secs(20)).await });
    until("the tenant's only place to be what the other run waits for", || async {
        let why = acme.runs().explain(&two.name).send().await.expect("an answer");
        why.waiting_on.is_some_and(|on| on.reason == WaitingReason::Quota)
    })
    .await;
    runner.complete(&job.expect("a job"), planned(1, 0)).await;
    assert_eq!(asked.await.expect("no panic").map(|job| job.run), Some(two.name));
}
