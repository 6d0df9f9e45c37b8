//! What other systems call us for: proven, kept once, and answered, whatever happens in between.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold::{Client, Connection, InboundMessageState, Timestamp};
use freehold_fakes::{FakeGithub, FakeSlack};
use freehold_tests::{Database, Installation, Pki, World, armed, until};
use ring::hmac;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::connections::SECRET;

const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

pub type Headers = Vec<(String, String)>;

/// Posts to the listener `web`; answers status and body. No status when nothing came back.
pub async fn post(pki: &Pki, web: SocketAddr, path: &str, headers: &Headers, body: &str) -> (Option<u16>, String) {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.path("ca.crt")).expect("a certificate")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = versions.with_root_certificates(roots).with_no_client_auth();
    let tcp = TcpStream::connect(web).await.expect("connected");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("a handshake");
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    // Who is told too early that it is too much hangs up.
    let _ = tls.write_all(format!("{head}\r\n{body}").as_bytes()).await;
    let mut answer = Vec::new();
    let _ = tls.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// Headers of a call that is signed as Standard Webhooks says.
fn signed(secret: &str, id: &str, age: i64, body: &str) -> Headers {
    let seconds = Timestamp::now().as_second() - age;
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).expect("base64");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signature = STANDARD.encode(hmac::sign(&key, format!("{id}.{seconds}.{body}").as_bytes()));
    let headers =
        [("webhook-id", id), ("webhook-timestamp", &seconds.to_string()), ("webhook-signature", &format!("v1,{signature}"))];
    headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

async fn hook(acme: &Client, name: &str, secret: &str) -> Connection {
    let create = acme.connections().create(name, "webhook").credential("receive_secret", secret);
    create.send().await.expect("a connection")
}

/// Where the system of a connection calls.
pub fn path(connection: &Connection) -> &str {
    connection.inbound_path.as_deref().expect("it receives")
}

/// Makes the connection `ops` with one message; answers the message's name.
pub async fn message(world: &World) -> String {
    let connection = hook(&world.admin, "ops", SECRET).await;
    let body = json!({ "type": "greeting" }).to_string();
    let headers = signed(SECRET, "msg_1", 0, &body);
    let (status, _) = post(&world.installation.pki, world.replica.web, path(&connection), &headers, &body).await;
    assert_eq!(status, Some(200));
    world.admin.connections().messages("ops").send().await.expect("messages").items.remove(0).name
}

both_databases!(a_call_is_taken_once_and_only_from_who_can_prove_it);

async fn a_call_is_taken_once_and_only_from_who_can_prove_it(database: Database) {
    let world = World::new(database).await;
    let (acme, pki, web) = (&world.admin, &world.installation.pki, world.replica.web);
    let ops = hook(acme, "ops", SECRET).await;
    let other = hook(acme, "other", OTHER).await;
    let send = async |connection: &Connection, headers: &Headers, body: &str| {
        let (status, answer) = post(pki, web, path(connection), headers, body).await;
        assert_eq!(answer, "", "nobody learns anything");
        status.expect("an answer")
    };
    let body = json!({ "type": "order.paid", "data": { "note": "content-of-a-message" } }).to_string();
    let good = signed(SECRET, "msg_1", 0, &body);
    assert_eq!(send(&ops, &good, &body).await, 200);
    assert_eq!(send(&ops, &good, &body).await, 200, "it comes again");
    assert_eq!(send(&ops, &signed(SECRET, "msg_1", 1, &body), &body).await, 200, "it comes again, signed anew");

    let forged = body.replace("paid", "free");
    let none = Headers::new();
    let no_json = "no JSON";
    for (what, connection, headers, body, status) in [
        ("forged", &ops, &good, forged.as_str(), 401),
        ("late", &ops, &signed(SECRET, "msg_2", 3600, &body), &body, 401),
        ("signed with another secret", &ops, &signed(OTHER, "msg_2", 0, &body), &body, 401),
        ("another connection's", &other, &good, &body, 401),
        ("not signed", &ops, &none, &body, 401),
        ("no JSON", &ops, &signed(SECRET, "msg_2", 0, no_json), no_json, 400),
    ] {
        assert_eq!(send(connection, headers, body).await, status, "{what}");
    }
    let nowhere = format!("/hooks/{}", world.replica.process.id());
    assert_eq!(post(pki, web, &nowhere, &good, &body).await.0, Some(404));
    assert_eq!(post(pki, web, "/hooks/0199a0de-0000-7000-8000-000000000000", &good, &body).await.0, Some(404));
    let large = "x".repeat((1 << 20) + 1);
    let (status, _) = post(pki, web, path(&ops), &signed(SECRET, "msg_3", 0, &large), &large).await;
    assert!(status.is_none_or(|status| status == 413), "{status:?}");

    let messages = acme.connections().messages("ops").collect_up_to(10).await.expect("messages");
    assert_eq!(messages.len(), 1, "{messages:?}");
    let kept = &messages[0];
    assert_eq!(
        (kept.delivery_id.as_str(), kept.kind.as_str(), kept.state),
        ("msg_1", "order.paid", InboundMessageState::Handled)
    );
    assert!(kept.payload.is_none());
    let read = acme.connections().message(&kept.name).send().await.expect("the message");
    assert_eq!(read.payload.expect("with its payload")["data"]["note"], "content-of-a-message");
    assert!(acme.connections().messages("other").send().await.expect("messages").items.is_empty());

    let trail = format!("{:?}", acme.audit().list().collect_up_to(1000).await.expect("the trail"));
    assert!(trail.contains("connection.message_received") && trail.contains("connection.message_read"));
    let events = format!("{:?}", acme.events().list().kind("connection.*").events().collect_up_to(100).await.expect("events"));
    let log = world.replica.process.said();
    assert!(log.contains("a call for a connection was refused"));
    let database = crate::canaries::database(&world.installation).await;
    for (place, text) in [("the trail", trail), ("events", events), ("the log", log)] {
        assert!(!text.contains("content-of-a-message") && !text.contains(SECRET), "{place}");
    }
    assert!(!String::from_utf8_lossy(&database).contains("content-of-a-message"), "payloads are sealed");

    acme.connections().disable("ops").send().await.expect("disabled");
    assert_eq!(send(&ops, &signed(SECRET, "msg_4", 0, &body), &body).await, 404);
    acme.connections().delete("ops").send().await.expect("deleted with its messages");
    assert_eq!(send(&ops, &signed(SECRET, "msg_5", 0, &body), &body).await, 404);
}

both_databases!(github_and_slack_are_understood);

async fn github_and_slack_are_understood(database: Database) {
    let world = World::new(database).await;
    let (acme, pki, web) = (&world.admin, &world.installation.pki, world.replica.web);
    let code = acme.connections().create("code", "github").credential("webhook_secret", FakeGithub::WEBHOOK_SECRET);
    let code = code.send().await.expect("a connection");
    let chat = acme.connections().create("chat", "slack").credential("signing_secret", FakeSlack::SIGNING_SECRET);
    let chat = chat.send().await.expect("a connection");

    let push = json!({ "ref": "refs/heads/main", "repository": { "full_name": "acme/shop" } }).to_string();
    let id = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
    let signed = FakeGithub::sign(&push, "push", id);
    assert_eq!(post(pki, web, path(&code), &signed, &push).await.0, Some(200));
    // The id is not signed: who replays a call may change it.
    let replayed = FakeGithub::sign(&push, "push", "72d3162e-cc78-11e3-81ab-4c9367dc0959");
    assert_eq!(post(pki, web, path(&code), &replayed, &push).await.0, Some(200));
    let kept = acme.connections().messages("code").collect_up_to(10).await.expect("messages");
    assert_eq!(kept.iter().map(|one| (one.delivery_id.as_str(), one.kind.as_str())).collect::<Vec<_>>(), [(id, "push")]);

    let hello = json!({ "type": "url_verification", "challenge": "3eZbrw1aB" }).to_string();
    let signed = FakeSlack::sign(&hello, Timestamp::now().as_second(), "application/json");
    let (status, answer) = post(pki, web, path(&chat), &signed, &hello).await;
    assert_eq!((status, answer.as_str()), (Some(200), r#"{"challenge":"3eZbrw1aB"}"#));
}

both_databases!(both_secrets_count_while_one_is_being_replaced);

async fn both_secrets_count_while_one_is_being_replaced(database: Database) {
    let world = World::new(database).await;
    let (acme, pki, web) = (&world.admin, &world.installation.pki, world.replica.web);
    let ops = hook(acme, "ops", SECRET).await;
    let rotate = |secret: &str| acme.connections().rotate("ops").credential("receive_secret", secret);
    let rotated = rotate(OTHER).grace_period(Duration::from_secs(3600)).send().await.expect("rotated");
    let slots: Vec<_> = rotated.credential_slots.iter().map(|slot| (slot.slot.as_str(), slot.expire_time.is_some())).collect();
    assert_eq!(slots, [("previous_receive_secret", true), ("receive_secret", false)]);
    let count = AtomicU32::new(0);
    let sent = async |secret: &str| {
        let count = count.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "type": "x", "n": count }).to_string();
        post(pki, web, path(&ops), &signed(secret, &format!("msg_{count}"), 0, &body), &body).await.0
    };
    assert_eq!((sent(SECRET).await, sent(OTHER).await), (Some(200), Some(200)));
    // A grace of a moment is soon over.
    rotate(SECRET).grace_period(Duration::from_secs(1)).send().await.expect("rotated");
    until("the end of the grace", || async { sent(OTHER).await == Some(401) }).await;
    assert_eq!(sent(SECRET).await, Some(200));
    let too_long = rotate(OTHER).grace_period(Duration::from_secs(31 * 86_400)).send().await.expect_err("too long");
    assert_eq!(too_long.violations()[0].field, "grace_period");
    rotate(OTHER).grace_period(Duration::ZERO).send().await.expect("rotated");
    assert_eq!((sent(SECRET).await, sent(OTHER).await), (Some(401), Some(200)));
}

both_databases!(what_was_kept_before_a_crash_is_a_repeat_after_it);

async fn what_was_kept_before_a_crash_is_a_repeat_after_it(database: Database) {
    let installation = Installation::new(database).await;
    let mut replica = installation.start(armed(&installation.serve(&[]), &[("FREEHOLD_FAULT", "inbound.kept:1")])).await;
    let acme = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    acme.tenants().create("acme").send().await.expect("a tenant");
    let ops = hook(&acme, "ops", SECRET).await;
    let body = json!({ "type": "order.paid" }).to_string();
    let headers = signed(SECRET, "msg_1", 0, &body);
    let (status, _) = post(&installation.pki, replica.web, path(&ops), &headers, &body).await;
    assert_eq!(status, None, "it dies between keeping and answering");
    replica.process.wait().await;

    let replica = installation.replica(&[]).await;
    let acme = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    // The system has no answer, and calls again.
    let (status, _) = post(&installation.pki, replica.web, path(&ops), &headers, &body).await;
    assert_eq!(status, Some(200));
    let messages = acme.connections().messages("ops").collect_up_to(10).await.expect("messages");
    assert_eq!(messages.len(), 1, "{messages:?}");
    let events = acme.events().list().kind("connection.message_received").events().collect_up_to(10).await.expect("events");
    assert_eq!(events.len(), 1, "{events:?}");
}
