//! Mail, to a real relay.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_connectors::{
    Connector as _, ConnectorError, Context, Credentials, Environment, ErrorKind, Limits, Outbound, RetryLimits, SystemLookup,
    smtp::Smtp,
};
use freehold_domain::network::AddressPolicy;
use freehold_fakes::RealSmtp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{NOW, TestClock, TestRandom, environment, limits};

pub fn settings(relay: &RealSmtp) -> Value {
    json!({ "host": "localhost", "port": relay.starttls_port, "from": "Freehold <freehold@example.com>", "username": "ada",
            "ca_bundle": relay.ca })
}

fn context(settings: &Value, password: &str, limits: Limits, environment: Environment) -> Context {
    assert_eq!(Smtp::new().check(settings), []);
    let outbound = Outbound::new("connections/mail", "smtp", None, limits, environment).expect("a client can be made");
    let credentials = Credentials::none().with("password", password);
    Context::new(Arc::new(outbound), settings.clone(), Arc::new(credentials)).within(Duration::from_secs(30))
}

pub async fn send(cx: &Context, mail: Value) -> Result<Value, ConnectorError> {
    Smtp::new().invoke(cx, "mail.send", mail).await
}

fn good(settings: &Value) -> Context {
    context(settings, "correct horse", limits(), environment(TestClock::new()))
}

pub fn mail(to: &str, subject: &str) -> Value {
    json!({ "to": [to], "subject": subject, "text": "run 7 is applied" })
}

/// Headers and body of a mail, as text.
pub fn content(mail: &Value) -> String {
    let bytes = STANDARD.decode(mail["content"].as_str().expect("base64")).expect("base64");
    String::from_utf8(bytes).expect("mail is ASCII")
}

#[tokio::test]
async fn a_mail_arrives_in_secret_with_all_its_parts() {
    let relay = RealSmtp::start().await;
    let attached: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let input = json!({
        "to": ["Ada <ada@example.com>", "bob@example.com"], "bcc": ["carol@example.com"], "subject": "Grün: run 7",
        "text": "Plan angewendet – fertig", "html": "<p>Plan <b>angewendet</b></p>", "in_reply_to": "<first@example.com>",
        "attachments": [{ "name": "plan.bin", "content_type": "application/octet-stream", "base64": STANDARD.encode(&attached) }],
    });
    let mut implicit = settings(&relay);
    (implicit["tls"], implicit["port"]) = ("implicit".into(), relay.implicit_port.into());
    for (count, settings) in [settings(&relay), implicit].iter().enumerate() {
        let sent = send(&good(settings).keyed("run-7"), input.clone()).await.expect("sent");
        let mails = relay.mails(count + 1).await;
        let (came, text) = (&mails[count], content(&mails[count]));
        assert_eq!(
            (&came["from"], &came["to"]),
            (&json!("freehold@example.com"), &json!(["ada@example.com", "bob@example.com", "carol@example.com"]))
        );
        assert_eq!((came["secret"].as_bool(), came["login"].as_str()), (Some(true), Some("ada")));
        let id = sent["message_id"].as_str().expect("an id");
        assert!(text.contains(&format!("Message-ID: {id}\r\n")), "{text}");
        assert!(
            text.contains("Date: Sun, 15 Jun 2025 15:06:40 +0000\r\n") && text.contains("Auto-Submitted: auto-generated\r\n"),
            "{text}"
        );
        assert!(text.contains("In-Reply-To: <first@example.com>\r\n") && !text.contains("carol"), "{text}");
        let encoded: String = text.split_whitespace().collect();
        assert!(encoded.contains(&STANDARD.encode(&attached)), "byte for byte");
        assert!(
            text.contains("multipart/alternative") && text.contains("text/html") && text.contains("filename=\"plan.bin\""),
            "{text}"
        );
        assert!(sent["reply"].as_str().is_some_and(|reply| reply.contains("Queued")), "{sent}");
    }
}

#[tokio::test]
async fn a_mail_that_is_repeated_has_the_same_id() {
    let relay = RealSmtp::start().await;
    let settings = settings(&relay);
    let cx = || good(&settings).keyed("run-7/applied");
    let first = send(&cx(), mail("ada@example.com", "[once] run 7")).await.expect("repeated by itself");
    let second = send(&cx(), mail("ada@example.com", "run 7")).await.expect("sent");
    let other = send(&good(&settings).keyed("run-8"), mail("ada@example.com", "run 8")).await.expect("sent");
    assert_eq!(first["message_id"], second["message_id"]);
    assert_ne!(first["message_id"], other["message_id"]);
}

#[tokio::test]
async fn refusals_have_their_kind_and_say_of_whom() {
    let relay = RealSmtp::start().await;
    let settings = settings(&relay);
    let once = Limits { retry: RetryLimits { attempts: 1, ..limits().retry }, ..limits() };
    let cx = || context(&settings, "correct horse", once, environment(TestClock::new()));
    let cases = [
        (mail("nobody@example.com", "x"), ErrorKind::NotFound, 550, "5.1.1"),
        (mail("blocked@example.com", "x"), ErrorKind::Permission, 550, "5.7.1"),
        (mail("later@example.com", "x"), ErrorKind::Throttled, 450, "4.2.1"),
        (mail("shut@example.com", "x"), ErrorKind::Transient, 421, "4.3.2"),
        (mail("ada@example.com", "[full]"), ErrorKind::Invalid, 552, "5.3.4"),
        (mail("ada@example.com", "[refused]"), ErrorKind::Permanent, 554, "5.6.0"),
        (mail("ada@example.com", "[broken]"), ErrorKind::Transient, 451, "4.3.0"),
    ];
    for (mail, kind, status, code) in cases {
        let error = send(&cx(), mail.clone()).await.expect_err("refused");
        assert_eq!(
            (error.kind, error.vendor_status, error.vendor_code.as_deref()),
            (kind, Some(status), Some(code)),
            "{mail}: {error}"
        );
        assert!(!error.maybe_done, "{mail}: {error}");
    }
    let error = send(&cx(), mail("later@example.com", "x")).await.expect_err("refused");
    assert_eq!(error.retry_after, Some(Duration::from_secs(300)));
    assert!(error.message.contains("later@example.com"), "{error}");

    let mut both = mail("ada@example.com", "x");
    both["cc"] = json!(["nobody@example.com"]);
    send(&cx(), both).await.expect_err("all or none");
    send(&cx(), mail("ada@example.com", "the only one")).await.expect("sent");
    assert_eq!(relay.mails(1).await.len(), 1);
}

#[tokio::test]
async fn who_does_not_hear_the_answer_does_not_know() {
    let relay = RealSmtp::start().await;
    let settings = settings(&relay);
    for (subject, seconds) in [("[cut]", 20), ("[slow]", 5)] {
        let once = RetryLimits { attempts: 1, ..limits().retry };
        let once = Limits { retry: once, request: Duration::from_secs(seconds), ..limits() };
        let cx = context(&settings, "correct horse", once, environment(TestClock::new()));
        let error = send(&cx, mail("ada@example.com", subject)).await.expect_err("no answer");
        assert_eq!((error.kind, error.maybe_done), (ErrorKind::Transient, true), "{subject}: {error}");
    }
    assert_eq!(relay.mails(2).await.len(), 2, "both had arrived");
}

#[tokio::test]
async fn a_test_tells_what_is_wrong_with_a_connection() {
    let relay = RealSmtp::start().await;
    let settings = settings(&relay);
    let report = Smtp::new().test(&good(&settings)).await;
    assert_eq!((report.ok, report.identity.as_deref()), (true, Some("ada")), "{report:?}");

    let cx = context(&settings, "wrong horse", limits(), environment(TestClock::new()));
    let report = Smtp::new().test(&cx).await;
    let error = report.error.expect("it is wrong");
    assert_eq!((error.kind, error.vendor_status), (ErrorKind::Auth, Some(535)), "{error}");
    assert!(!error.to_string().contains("horse"), "{error}");

    let mut strange = settings.clone();
    strange.as_object_mut().expect("an object").remove("ca_bundle");
    let error = Smtp::new().test(&good(&strange)).await.error.expect("nobody knows its authority");
    assert_eq!(error.kind, ErrorKind::Permanent, "{error}");
    assert!(error.message.contains("ca_bundle"), "{error}");

    strange["port"] = relay.implicit_port.into();
    let quick =
        context(&strange, "correct horse", Limits { request: Duration::from_secs(2), ..limits() }, environment(TestClock::new()));
    let error = Smtp::new().test(&quick.within(Duration::from_secs(4))).await.error.expect("it waits for us to begin");
    assert_eq!(error.kind, ErrorKind::Transient, "{error}");
}

#[tokio::test]
async fn no_mail_goes_where_nothing_may_go() {
    let relay = RealSmtp::start().await;
    for host in ["localhost", "127.0.0.1", "2130706433", "::1", "::ffff:127.0.0.1", "169.254.169.254"] {
        let mut settings = settings(&relay);
        settings["host"] = host.into();
        let policy = Arc::new(AddressPolicy::new(&[], false));
        let strict =
            Environment { policy, lookup: Arc::new(SystemLookup), clock: TestClock::new(), random: Arc::new(TestRandom) };
        let error = send(&context(&settings, "correct horse", limits(), strict), mail("ada@example.com", "x")).await;
        let error = error.expect_err("it may not be reached");
        assert_eq!(error.vendor_code.as_deref(), Some("address_refused"), "{host}: {error}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_mail_is_told_before_anything_is_sent() {
    let relay = RealSmtp::start().await;
    let cx = good(&settings(&relay));
    let input = json!({ "to": ["ada@example.com", "not an address"], "subject": "x\r\nBcc: mallory@example.com", "text": "x" });
    let error = send(&cx, input).await.expect_err("wrong");
    assert_eq!(error.violations.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(), ["subject"], "{error}");
    let input = json!({ "to": ["ada@example.com", "not an address"], "subject": "x", "text": "x",
                        "attachments": [{ "name": "a", "content_type": "nonsense", "base64": "aGk=" }] });
    let error = send(&cx, input).await.expect_err("wrong");
    let fields: Vec<_> = error.violations.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["to[1]", "attachments[0].content_type"], "{error}");

    let would = send(&good(&settings(&relay)).dry_run(), mail("ada@example.com", "x")).await.expect("a dry run");
    assert_eq!((&would["dry_run"], &would["request"]["to"]), (&json!(true), &json!(["ada@example.com"])));
    assert_eq!(NOW, 1_750_000_000, "the date above is this moment");
    assert!(relay.mails(0).await.is_empty());
}

/// Says these things in the open, one after each line that it hears, and remembers what it heard.
async fn eavesdropper(says: &'static [&'static str]) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("this machine has a free port");
    let port = listener.local_addr().expect("a listener has an address").port();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("somebody comes");
        let mut heard = Vec::new();
        for say in says {
            stream.write_all(say.as_bytes()).await.expect("it listens");
            if stream.read_buf(&mut heard).await.expect("it speaks") == 0 {
                break;
            }
        }
        String::from_utf8_lossy(&heard).into_owned()
    });
    (port, heard)
}

#[tokio::test]
async fn nothing_is_believed_that_was_said_in_the_open() {
    let cases: [(&'static [&'static str], ErrorKind, &str); 5] = [
        (&["220 relay\r\n", "250 relay.example\r\n"], ErrorKind::Unconfigured, "offers no STARTTLS"),
        (
            &["220 relay\r\n", "250-relay.example\r\n250 STARTTLS\r\n", "220 go\r\n250 AUTH PLAIN\r\n"],
            ErrorKind::Permanent,
            "said more",
        ),
        (&["220 relay\r\n", "250-relay.example\r\n250 STARTTLS\r\n", "454 4.7.0 not now\r\n"], ErrorKind::Throttled, "454"),
        (&["554 5.7.1 go away\r\n"], ErrorKind::Permission, "go away"),
        (&["SSH-2.0-OpenSSH_9.2\r\n"], ErrorKind::Transient, "does not speak SMTP"),
    ];
    for (says, kind, told) in cases {
        let (port, heard) = eavesdropper(says).await;
        let settings = json!({ "host": "localhost", "port": port, "from": "freehold@example.com", "username": "ada" });
        let once = Limits { retry: RetryLimits { attempts: 1, ..limits().retry }, ..limits() };
        let cx = context(&settings, "correct horse", once, environment(TestClock::new()));
        let error = send(&cx, mail("ada@example.com", "x")).await.expect_err("it is not secret");
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(told), "{error}");
        drop(cx);
        let heard = heard.await.expect("it listened");
        assert!(!heard.contains("AUTH") && !heard.contains("MAIL"), "{heard}");
    }
}
