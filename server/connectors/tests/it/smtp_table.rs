//! The one operation of mail under every kind of answer, in the words of SMTP: what the table of the other connectors does by HTTP
//! is done here with a real relay.

use std::{sync::Arc, time::Duration};

use freehold_connectors::{Connector as _, Context, Credentials, ErrorKind, Outbound, smtp::Smtp};
use freehold_fakes::RealSmtp;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    smtp::{content, mail, send, settings},
    support::{TestClock, environment, limits},
    table::Tally,
};

/// A connection whose figures count from zero.
fn connection(settings: Value, password: &str) -> (Context, Arc<Outbound>) {
    let outbound = Outbound::new("connections/mail", "smtp", None, limits(), environment(TestClock::new()));
    let outbound = Arc::new(outbound.expect("a client can be made"));
    let credentials = Arc::new(Credentials::none().with("password", password));
    (Context::new(Arc::clone(&outbound), settings, credentials).within(Duration::from_secs(30)), outbound)
}

fn good(relay: &RealSmtp) -> (Context, Arc<Outbound>) {
    connection(settings(relay), "correct horse")
}

/// Ids of the mails of a subject that the relay has taken by now, in its order.
async fn taken(relay: &RealSmtp, subject: &str) -> Vec<String> {
    let marker = format!("whatever came before {}", uuid::Uuid::now_v7());
    send(&good(relay).0, mail("ada@example.com", &marker)).await.expect("sent");
    let line = |mail: &str, name: &str| {
        mail.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned).unwrap_or_else(|| panic!("{name} of {mail}"))
    };
    let mut known = 0;
    loop {
        let mails: Vec<String> = relay.mails(known + 1).await.iter().map(content).collect();
        if mails.iter().any(|mail| line(mail, "Subject: ") == marker) {
            let of_subject = mails.iter().filter(|mail| line(mail, "Subject: ") == subject);
            return of_subject.map(|mail| line(mail, "Message-ID: ")).collect();
        }
        known = mails.len();
    }
}

async fn succeeds(relay: &RealSmtp) {
    let sent = send(&good(relay).0, mail("ada@example.com", "success")).await.expect("sent");
    assert_eq!(json!(taken(relay, "success").await), json!([sent["message_id"]]));
}

async fn refuses_a_password(relay: &RealSmtp) {
    let (cx, _) = connection(settings(relay), "wrong horse");
    let error = send(&cx, mail("ada@example.com", "auth")).await.expect_err("nobody is let in");
    assert_eq!((error.kind, error.vendor_status, error.maybe_done), (ErrorKind::Auth, Some(535), false), "{error}");
    assert_eq!(taken(relay, "auth").await, [""; 0]);
}

async fn is_throttled(relay: &RealSmtp) {
    // 451, 421 and 452 of a moment.
    for subject in ["[once] throttled", "[closing once] throttled", "[short once] throttled"] {
        let (cx, outbound) = good(relay);
        let sent = send(&cx, mail("ada@example.com", subject)).await.expect("the repeat goes through");
        assert_eq!(outbound.snapshot().retries, 1, "{subject}");
        assert_eq!(json!(taken(relay, subject).await), json!([sent["message_id"]]), "{subject}");
    }
    // Those that ask for minutes are the caller's to wait for.
    for (receiver, status) in [("later@example.com", 450), ("grey@example.com", 451)] {
        let (cx, outbound) = good(relay);
        let error = send(&cx, mail(receiver, "throttled")).await.expect_err("not now");
        assert_eq!((error.kind, error.vendor_status, error.maybe_done), (ErrorKind::Throttled, Some(status), false), "{error}");
        assert_eq!((error.retry_after, outbound.snapshot().retries), (Some(Duration::from_secs(300)), 0), "{error}");
    }
}

async fn breaks(relay: &RealSmtp) {
    // A relay that is broken says 4yz, and is asked again until it is enough.
    let (cx, outbound) = good(relay);
    let error = send(&cx, mail("ada@example.com", "[broken]")).await.expect_err("it stays broken");
    assert_eq!((error.kind, error.vendor_status, error.maybe_done), (ErrorKind::Transient, Some(451), false), "{error}");
    assert_eq!(outbound.snapshot().retries, u64::from(limits().retry.attempts) - 1);
    // 5yz is for good.
    for (receiver, subject, kind, status) in [
        ("nobody@example.com", "5yz", ErrorKind::NotFound, 550),
        ("blocked@example.com", "5yz", ErrorKind::Permission, 550),
        ("ada@example.com", "[full]", ErrorKind::Invalid, 552),
        ("ada@example.com", "[refused]", ErrorKind::Permanent, 554),
    ] {
        let (cx, outbound) = good(relay);
        let error = send(&cx, mail(receiver, subject)).await.expect_err("refused");
        assert_eq!((error.kind, error.vendor_status, error.maybe_done), (kind, Some(status), false), "{error}");
        assert_eq!(outbound.snapshot().retries, 0, "{error}");
        assert_eq!(taken(relay, subject).await, [""; 0]);
    }
}

async fn is_silent(relay: &RealSmtp) {
    // Whoever does not hear what became of a mail that was said to its end does not know; of one that was not begun it is known.
    let deaf = TcpListener::bind(("127.0.0.1", 0)).await.expect("this machine has a free port");
    let mut elsewhere = settings(relay);
    elsewhere["port"] = deaf.local_addr().expect("a listener has an address").port().into();
    for (settings, subject, seconds, maybe_done) in [(settings(relay), "[slow]", 5, true), (elsewhere, "deaf", 1, false)] {
        let (cx, _) = connection(settings, "correct horse");
        let cx = cx.within(Duration::from_secs(seconds));
        let error = send(&cx, mail("ada@example.com", subject)).await.expect_err("nobody answers");
        assert_eq!((error.kind, error.maybe_done), (ErrorKind::Transient, maybe_done), "{subject}: {error}");
        assert_eq!(taken(relay, subject).await.len(), usize::from(maybe_done), "{subject}");
    }
}

async fn is_repeated(relay: &RealSmtp) {
    // An answer that is lost makes two of a mail that has a key, and receivers know the second one by its id.
    let keyed = || good(relay).0.keyed("run-7/duplicate");
    let sent = send(&keyed(), mail("ada@example.com", "[cut once] keyed")).await.expect("the repeat is answered");
    assert_eq!(json!(taken(relay, "[cut once] keyed").await), json!([sent["message_id"], sent["message_id"]]));
    // The same call later has that id as well.
    let again = send(&keyed(), mail("ada@example.com", "later")).await.expect("sent");
    assert_eq!(again["message_id"], sent["message_id"]);
    // One without a key is not repeated.
    let error = send(&good(relay).0, mail("ada@example.com", "[cut once] unkeyed")).await.expect_err("nobody knows");
    assert_eq!((error.kind, error.maybe_done), (ErrorKind::Transient, true), "{error}");
    assert_eq!(taken(relay, "[cut once] unkeyed").await.len(), 1);
}

#[tokio::test]
async fn every_operation_under_every_answer() {
    let smtp = Smtp::new();
    let operations: Vec<_> = smtp.manifest().operations.iter().map(|operation| operation.name).collect();
    assert_eq!(operations, ["mail.send"], "every operation has a row");
    let relay = RealSmtp::start().await;
    succeeds(&relay).await;
    refuses_a_password(&relay).await;
    is_throttled(&relay).await;
    breaks(&relay).await;
    is_silent(&relay).await;
    is_repeated(&relay).await;
    let tally = Tally { run: 6, senseless: vec!["mail.send × page 3: it sends something, and has no pages".to_owned()] };
    tally.print("smtp");
    assert_eq!(tally.run + tally.senseless.len(), operations.len() * 7);
}
