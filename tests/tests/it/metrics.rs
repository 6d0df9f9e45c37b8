//! What Prometheus reads on the listener `admin`.

use std::io;

use freehold::{RunHandle, RunOutcome};
use freehold_tests::{Database, Replica, World};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What a replica answers to Prometheus, with its head.
pub async fn scraped(replica: &Replica) -> io::Result<String> {
    let mut connection = TcpStream::connect(replica.admin).await?;
    connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Lines of samples, without help and types.
async fn scrape(world: &World) -> Vec<String> {
    let answer = scraped(&world.replica).await.expect("it answers");
    let (head, text) = answer.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.0 200") && head.contains("openmetrics-text"), "{head}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

async fn done(run: RunHandle) -> RunOutcome {
    run.wait_done().await.expect("it ends").into_run().outcome.expect("an outcome")
}

async fn runs_drift_and_resources_are_counted_once(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let _runner = world.runner();
    let acme = &world.admin;
    assert_eq!(scrape(&world).await, Vec::<String>::new());

    for name in ["shop/dev/one", "shop/dev/two"] {
        acme.deployments().create(name, "greeting@1.0.0").input("name", name).send().await.expect("a deployment");
        assert_eq!(done(acme.runs().plan(name).auto_apply().send().await.expect("a run")).await, RunOutcome::Succeeded);
    }
    let of_one = acme.state().resources("shop/dev/one").collect_up_to(500).await.expect("resources").len();
    let mut groups: Vec<String> = scrape(&world).await;
    groups.retain(|line| line.starts_with("managed_resources{"));
    let sum: usize =
        groups.iter().map(|line| line.rsplit(' ').next().and_then(|count| count.parse::<usize>().ok()).expect("a number")).sum();
    assert_eq!(sum, 2 * of_one, "{groups:?}");

    std::fs::remove_file(world.installation.path("files/acme/shop/dev/one.txt")).expect("a file that was made");
    for _ in 0..2 {
        assert_eq!(done(acme.runs().detect_drift("shop/dev/one").send().await.expect("a run")).await, RunOutcome::Succeeded);
    }
    assert_eq!(done(acme.runs().destroy("shop/dev/two").auto_apply().send().await.expect("a run")).await, RunOutcome::Succeeded);
    acme.deployments().abandon("shop/dev/one", "somebody else looks after it").send().await.expect("it is abandoned");
    let mut samples = scrape(&world).await;
    samples.sort();
    assert_eq!(
        samples,
        [
            r#"deployments_total{engine="native",outcome="succeeded"} 3"#,
            r#"drift_detected_total{class="known"} 1"#,
            r#"drift_detected_total{class="new"} 1"#,
            r#"iac_renders_total{engine="native",result="ok"} 5"#,
        ]
    );
}

both_databases!(runs_drift_and_resources_are_counted_once);
