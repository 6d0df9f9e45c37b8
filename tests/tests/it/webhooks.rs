//! What happens reaches programs outside, signed, at least once, and nowhere that it must not go.

use std::{net::SocketAddr, time::Duration};

use freehold::{Client, Timestamp, WebhookDelivery, WebhookDeliveryState, WebhookEndpoint, WebhookEndpointState};
use freehold_fakes::{Fault, Receiver, Reply};
use freehold_tests::{Database, Installation, World, armed, eventually, until};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::faults::Faulty;

/// Not the one of any endpoint.
const OTHER: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PRIVATE: &[&str] = &["--connections-allow-private"];

/// An endpoint whose receiver believes it.
async fn connect(acme: &Client, name: &str, receiver: &Receiver, ordered: bool) -> WebhookEndpoint {
    let made = acme.webhooks().create(name, receiver.server.url()).kind("project.*").ca_bundle(receiver.server.ca());
    let made = made.ordered(ordered).send().await.expect("an endpoint");
    receiver.change_secret(made.secret.reveal());
    made.webhook_endpoint
}

/// Makes the endpoint `ops` of a receiver that is not there, has something happen that it wants once, and answers the delivery when it
/// was tried.
pub async fn undelivered(acme: &Client) -> String {
    acme.webhooks().create("ops", "https://receiver.invalid/").kind("project.created").send().await.expect("an endpoint");
    acme.projects().create("told").send().await.expect("something to tell of");
    let failing = async || acme.webhooks().get("ops").send().await.is_ok_and(|endpoint| endpoint.failing_since.is_some());
    until("a try", || async { failing().await }).await;
    deliveries(acme, "ops").await.remove(0).name
}

async fn deliveries(acme: &Client, endpoint: &str) -> Vec<WebhookDelivery> {
    let mut all = acme.webhooks().deliveries(endpoint).list().collect_up_to(1000).await.expect("a list");
    all.reverse();
    all
}

/// Resources that deliveries were about, by the last part of their names.
fn about(bodies: &[Value]) -> Vec<String> {
    let last = |body: &Value| body["data"]["resource"].as_str().and_then(|name| name.rsplit('/').next()).map(str::to_owned);
    bodies.iter().filter_map(last).collect()
}

async fn received(receiver: &Receiver, count: usize) -> Vec<Value> {
    eventually("deliveries", || async {
        let got = receiver.deliveries();
        if got.len() >= count { Ok(got) } else { Err(format!("{} of {count}", got.len())) }
    })
    .await
}

both_databases!(what_happens_is_delivered_signed_and_shown_with_what_was_answered);

async fn what_happens_is_delivered_signed_and_shown_with_what_was_answered(database: Database) {
    let world = World::with(database, PRIVATE).await;
    let acme = &world.admin;
    let receiver = Receiver::start(OTHER).await;
    acme.projects().create("before").send().await.expect("a project");
    let endpoint = connect(acme, "ops", &receiver, false).await;
    assert_eq!(endpoint.state, WebhookEndpointState::Enabled);

    acme.projects().create("shop").send().await.expect("a project");
    acme.users().invite("ada@acme.example").id("ada").send().await.expect("a user");
    let bodies = received(&receiver, 1).await;
    assert_eq!(about(&bodies), ["shop"], "what it wants, from when it was there");
    assert_eq!(
        (bodies[0]["type"].as_str(), bodies[0]["data"]["principal"].as_str()),
        (Some("project.created"), Some("platform/admin"))
    );
    let delivery = eventually("the record", || async {
        let one = deliveries(acme, "ops").await.remove(0);
        if one.state == WebhookDeliveryState::Delivered { Ok(one) } else { Err(one) }
    })
    .await;
    let attempt = &delivery.attempts[0];
    assert_eq!((attempt.status, delivery.attempt_count, attempt.error.as_deref()), (202, 1, None));
    assert_eq!(attempt.response_headers["set-cookie"], "(hidden)");
    assert_eq!(delivery.body.as_ref().map(|body| &body["type"]), Some(&"project.created".into()));

    // A receiver that has lost its memory is sent it again, under the same id.
    let id = receiver.server.requests()[0].header("webhook-id").to_owned();
    receiver.server.forget();
    acme.webhooks().redeliver(&delivery.name).send().await.expect("once more");
    let again = eventually("a repeat", || async { receiver.server.requests().pop().ok_or("none") }).await;
    assert_eq!(again.header("webhook-id"), id);

    // While a secret is replaced both sign; afterwards the new one alone.
    let rotated = acme.webhooks().rotate_secret("ops").send().await.expect("a new secret");
    assert!(rotated.webhook_endpoint.previous_secret_expire_time.is_some_and(|until| until > Timestamp::now()));
    acme.projects().update("shop").display_name("Shop").send().await.expect("a change");
    received(&receiver, 2).await;
    receiver.change_secret(rotated.secret.reveal());
    let test = acme.webhooks().test("ops").send().await.expect("an answer");
    assert_eq!((test.status, test.error), (202, None));
    assert_eq!(received(&receiver, 3).await[2]["type"], "webhook_endpoint.test");
    let repeated = acme.webhooks().rotate_secret("ops").request_id("01a202e9-323a-75ec-8ce8-f07773f31a38");
    repeated.clone().send().await.expect("another secret");
    let refused = repeated.send().await.expect_err("it is not kept");
    assert_eq!(refused.reason(), Some("SECRET_ALREADY_RETURNED"));

    // What it does not want any more is not sent, and what happens while it is disabled is not sent later.
    acme.webhooks().update("ops").filter("event.data.none == 1").send().await.expect("a change");
    acme.projects().update("shop").display_name("Quiet").send().await.expect("a change");
    acme.webhooks().update("ops").filter("").enabled(false).send().await.expect("disabled");
    acme.projects().update("shop").display_name("Silent").send().await.expect("a change");
    acme.webhooks().update("ops").enabled(true).send().await.expect("enabled");
    receiver.change_secret(OTHER);
    let again = acme.webhooks().rotate_secret("ops").grace(Duration::from_millis(1)).send().await.expect("a secret");
    receiver.change_secret(again.secret.reveal());
    acme.projects().update("shop").display_name("Loud").send().await.expect("a change");
    received(&receiver, 4).await;
    assert_eq!(deliveries(acme, "ops").await.len(), 3, "created, changed, and changed again");
    acme.webhooks().delete("ops").send().await.expect("deleted");
    assert!(acme.webhooks().deliveries("ops").list().send().await.expect_err("gone").is_not_found());
}

both_databases!(a_receiver_that_fails_gets_it_later_and_one_that_wants_order_gets_that);

async fn a_receiver_that_fails_gets_it_later_and_one_that_wants_order_gets_that(database: Database) {
    let world = World::with(database, PRIVATE).await;
    let acme = &world.admin;
    let (ordered, free, gone) = (Receiver::start(OTHER).await, Receiver::start(OTHER).await, Receiver::start(OTHER).await);
    connect(acme, "ordered", &ordered, true).await;
    connect(acme, "free", &free, false).await;
    connect(acme, "gone", &gone, false).await;
    for receiver in [&ordered, &free] {
        // An outage that the repeats of one attempt do not outlast, in every form.
        let faults = [Fault::status(500), Fault::Cut, Fault::status(429), Fault::status(503)];
        faults.into_iter().for_each(|fault| receiver.server.fail_next(fault));
    }
    gone.server.fail("", Fault::Reply(Reply::text(410, "")));

    for number in 0..5 {
        acme.projects().create(format!("p{number}")).send().await.expect("a project");
    }
    let names: Vec<String> = (0..5).map(|number| format!("p{number}")).collect();
    assert_eq!(about(&received(&ordered, 5).await), names, "in order, whatever failed");
    let mut seen = about(&received(&free, 5).await);
    seen.sort();
    assert_eq!(seen, names);
    let end = eventually("the end of the third", || async {
        let endpoint = acme.webhooks().get("gone").send().await.expect("the endpoint");
        if endpoint.state == WebhookEndpointState::Disabled { Ok(endpoint) } else { Err(endpoint) }
    })
    .await;
    assert!(end.disable_reason.is_some_and(|why| why.contains("410")));
    let told: Vec<freehold::Event> =
        acme.events().list().kind("webhook_endpoint.disabled").events().collect_up_to(10).await.expect("events");
    assert_eq!(told.len(), 1, "it is said to whoever looks after it");
    let refused = acme.webhooks().redeliver(&deliveries(acme, "gone").await[0].name).send().await.expect_err("disabled");
    assert_eq!(refused.reason(), Some("STATE_NOT_ALLOWED"));
}

/// Kills the server at a point of a delivery, and answers what the receiver got: all, and without repeats.
async fn killed_at(database: Database, point: &str) -> (usize, usize) {
    let installation = Installation::new(database).await;
    let mut replica = installation.start(armed(&installation.serve(PRIVATE), &[])).await;
    let acme = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    acme.tenants().create("acme").send().await.expect("a tenant");
    let receiver = Receiver::start(OTHER).await;
    connect(&acme, "ops", &receiver, false).await;
    replica.process.kill();
    let places = [("FREEHOLD_FAULT", point), ("FREEHOLD_TIME", "webhooks.lease:1")];
    replica = installation.again_with(&replica, &places, PRIVATE).await;
    // The change is committed whether or not its answer still comes.
    let _ = acme.projects().create("told").deadline(Duration::from_secs(10)).send().await;
    replica.process.wait().await;
    let _replica = installation.again_with(&replica, &places[1..], PRIVATE).await;
    until("the project", || async { acme.projects().get("told").send().await.is_ok() }).await;
    received(&receiver, 1).await;
    until("the record", || async {
        deliveries(&acme, "ops").await.iter().all(|delivery| delivery.state == WebhookDeliveryState::Delivered)
    })
    .await;
    (receiver.server.requests().len(), receiver.deliveries().len())
}

both_databases!(a_server_that_is_killed_on_the_way_delivers_at_least_once_and_once_by_its_id);

async fn a_server_that_is_killed_on_the_way_delivers_at_least_once_and_once_by_its_id(database: Database) {
    let decided = killed_at(database, "webhooks.decided:1").await;
    assert_eq!(decided, (1, 1), "killed before it was written down that it has to be delivered");
    let delivered = killed_at(database, "webhooks.delivered:1").await;
    assert_eq!(delivered, (2, 1), "killed before it was written down that it was delivered");
}

/// Addresses that nobody may have anything sent to, and one name for each way to write this machine.
fn forbidden(port: u16) -> Vec<String> {
    let hosts = [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "127.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "metadata.google.internal",
        "100.100.100.200",
    ];
    hosts.iter().map(|host| format!("https://{host}:{port}/latest/meta-data")).collect()
}

both_databases!(nothing_is_sent_to_addresses_that_are_not_for_everybody);

async fn nothing_is_sent_to_addresses_that_are_not_for_everybody(database: Database) {
    let world = World::new(database).await;
    let acme = &world.admin;
    let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], 0))).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (mut refused, mut failed) = (0, 0);
    for (number, url) in forbidden(port).iter().enumerate() {
        match acme.webhooks().create(format!("e{number}"), url).send().await {
            Err(error) => {
                assert_eq!(error.reason(), Some("FIELD_INVALID"), "{url}: {error}");
                refused += 1;
            }
            // A name: what it stands for is seen when a connection is made.
            Ok(made) => {
                let attempt = acme.webhooks().test(&made.webhook_endpoint.name).send().await.expect("an answer");
                assert!(attempt.status == 0 && attempt.error.is_some(), "{url}: {attempt:?}");
                acme.webhooks().delete(&made.webhook_endpoint.name).send().await.expect("deleted");
                failed += 1;
            }
        }
    }
    let connected = tokio::time::timeout(Duration::ZERO, listener.accept()).await.is_ok();
    assert!(!connected, "a connection was made");
    println!("connections made 0; {refused} addresses refused when written, {failed} when called");
    assert_eq!(refused + failed, forbidden(port).len());
    let plain = acme.webhooks().create("plain", "http://receiver.example/").send().await.expect_err("not without TLS");
    assert!(plain.to_string().contains("https"), "{plain}");
}
