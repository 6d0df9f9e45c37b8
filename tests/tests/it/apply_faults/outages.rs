//! What a runner and a server do without each other, and without the database, for a while.

use freehold::{RunHandle, RunPhase};
use freehold_tests::{Cut, Database::Sqlite, Installation, Proxy, eventually, postgres::Server, until};
use futures::{StreamExt as _, future::join_all};
use sqlx::ConnectOptions as _;

use super::book::{GATED, STEADY, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_outlives_the_line_between_runner_and_server() {
    let cuts = [Cut::BOTH, Cut::THERE, Cut::BACK];
    join_all(cuts.map(|cut| async move {
        let stage = Stage::new(Sqlite, GATED, &[]).await;
        let line = Proxy::to(stage.replica.runner).await;
        let runner = stage.runner("runner", line.address, &[]);
        let run = stage.apply().await;
        let name = run.run().name.clone();
        stage.begun("second").await;
        line.cut(cut);
        if cut.there {
            stage.phase(&run, RunPhase::Recovering).await;
        }
        // The program goes on to its end, and nobody hears of it.
        stage.open();
        stage.begun("third").await;
        let uid = name.rsplit('/').next().expect("a name");
        let end = stage.installation.path(&format!("runner-runner/terraform/runs/{uid}/apply/program/exit.json"));
        until("the end of the program", || async { end.exists() }).await;
        assert!(!stage.admin.runs().get(&name).send().await.expect("it is there").run().is_done(), "{cut:?}");
        line.heal();
        let ended = stage.succeeds(run).await;
        assert!(ended.is_ok(), "{cut:?}: {ended:?}\n{}", runner.said());
        let log = log_of(stage.admin.runs().get(&name).send().await.expect("it is there")).await;
        let told = log.iter().filter(|line| line.starts_with("Creation complete"));
        assert_eq!(told.count(), 3, "{cut:?}: each once: {log:#?}");
    }))
    .await;
    println!("{} cuts: doubled 0, lost 0, stuck 0", cuts.len());
}

async fn log_of(run: RunHandle) -> Vec<String> {
    run.logs_so_far().map(|line| line.expect("a line").text).collect().await
}

/// Ends a database.
type End = fn(&Server);

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_by_terraform_outlives_its_database() {
    // The ends that Postgres has for such days, and one that it has none for.
    let ends: [(&str, End); 2] = [("immediate", Server::kill), ("kill -9", Server::cut_off)];
    join_all(ends.map(|(name, end)| async move {
        let database = tokio::task::spawn_blocking(Server::start).await.expect("a database");
        let url = database.url("postgres");
        let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
        drop(eventually("Postgres", || options.connect()).await);
        let mut installation = Installation::new(Sqlite).await;
        installation.database_url = url;
        let stage = Stage::on(installation, STEADY, &[]).await;
        let runner = stage.runner("runner", stage.replica.runner, &[]);
        let run = stage.apply().await;
        for resource in ["first", "third"] {
            stage.begun(resource).await;
            end(&database);
            database.start_again();
        }
        let ended = stage.succeeds(run).await;
        assert!(ended.is_ok(), "{name}: {ended:?}\n{}\n{}", stage.replica.process.said(), runner.said());
    }))
    .await;
    println!("{} ends of Postgres, each twice: doubled 0, lost 0, stuck 0", ends.len());
}
