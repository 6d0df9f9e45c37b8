//! Clients that hang up in the middle of a write.
//!
//! Two safeguards stand against what that did elsewhere: handlers that write are not dropped with their call, and a connection
//! whose transaction was dropped is rolled back before it is anybody else's. With both taken away the oracle must notice.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use freehold_tests::{Database::Postgres, Installation, armed, eventually};
use futures::future::join_all;
use sqlx::ConnectOptions as _;
use tokio::time::timeout;

const ROUNDS: u64 = 100;
const TOGETHER: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_hang_up_lose_nothing_that_was_acknowledged_and_leave_nothing_half_written() {
    let (acknowledged, dropped) = hang_up(&[]).await.expect("nothing is lost and nothing is half written");
    println!("{ROUNDS} rounds: {acknowledged} writes acknowledged, {dropped} dropped in the middle, 0 violations");
    assert!(dropped >= ROUNDS, "too few writes were dropped to show anything: {dropped}");
    assert!(acknowledged >= ROUNDS as usize, "too few writes were acknowledged to lose any: {acknowledged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_not_rolled_back_are_noticed() {
    let noticed = hang_up(&[("FREEHOLD_MUTANT", "release,shield")]).await.expect_err("transactions were left open");
    // Who needs the rows of such a transaction waits for them, and who is given its connection finds it of no use.
    let signs = ["in open transactions", "off by", "no list: ", "no recount: "];
    assert!(signs.iter().any(|sign| noticed.contains(sign)), "{noticed}");
}

/// Makes projects and hangs up after a time that is different for each; says how many were acknowledged and how many dropped.
async fn hang_up(variables: &[(&str, &str)]) -> Result<(usize, u64), String> {
    let installation = Installation::new(Postgres).await;
    let command = installation.serve(&["--database-connections", "4"]);
    let replica = installation.start(armed(&command, variables)).await;
    let admin = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    admin.tenants().create("acme").send().await.expect("a tenant");
    admin.quotas().set_limit("projects", None).send().await.expect("a limit");
    let mut acknowledged = BTreeSet::new();
    let mut dropped = 0;
    let mut whole = Duration::MAX;
    for round in 0..5 {
        let calls = (0..TOGETHER).map(|call| admin.projects().create(format!("whole-{round}-{call}")).send());
        let begun = Instant::now();
        join_all(calls).await.into_iter().try_for_each(|answer| answer.map(drop)).map_err(|error| format!("{error:?}"))?;
        whole = whole.min(begun.elapsed());
    }
    for round in 0..ROUNDS {
        let calls = (0..TOGETHER).map(|call| {
            let (id, admin) = (format!("p-{round}-{call}"), &admin);
            // From nothing to longer than the calls take, in steps that do not repeat.
            let patience = whole.mul_f64(((round * 7919 + call * 3137) % 1000) as f64 / 700.0);
            async move { (timeout(patience, admin.projects().create(&id).send()).await, id) }
        });
        for (answer, id) in join_all(calls).await {
            match answer {
                Ok(Ok(_)) => drop(acknowledged.insert(id)),
                Ok(Err(error)) if variables.is_empty() => return Err(format!("{id} was refused: {error:?}")),
                Ok(Err(_)) | Err(_) => dropped += 1,
            }
        }
    }
    // What was dropped last is still being carried out, one short transaction after the other; an old one was left to itself.
    let forgotten = eventually("the end of all transactions", || async {
        let (open, forgotten) = in_transaction(&installation.database_url).await;
        if open == 0 || forgotten > 0 { Ok(forgotten) } else { Err(open) }
    })
    .await;
    if forgotten > 0 {
        return Err(format!("{forgotten} sessions stay in open transactions"));
    }
    let found = admin.projects().list().collect_up_to(2000).await.map_err(|error| format!("no list: {error:?}"))?;
    let found: BTreeSet<String> = found.iter().filter_map(|project| project.name.rsplit('/').next().map(str::to_owned)).collect();
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    if !lost.is_empty() {
        return Err(format!("{} acknowledged writes are lost: {lost:?}", lost.len()));
    }
    let recount = admin.quotas().recount("projects").send().await.map_err(|error| format!("no recount: {error:?}"))?;
    if recount.difference != 0 {
        return Err(format!("the counter is off by {}", recount.difference));
    }
    Ok((acknowledged.len(), dropped))
}

/// Sessions that wait inside of a transaction, and those of them whose transaction is older than five seconds.
async fn in_transaction(url: &str) -> (i64, i64) {
    let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
    let mut connection = options.connect().await.expect("a session");
    sqlx::query_as(
        "SELECT COUNT(*), COUNT(*) FILTER (WHERE xact_start < clock_timestamp() - INTERVAL '5 seconds')
         FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'",
    )
    .fetch_one(&mut connection)
    .await
    .expect("the sessions")
}
