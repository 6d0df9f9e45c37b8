//! No way leads to an address that may not be reached.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use freehold_connectors::{
    Connector as _, Context, Credentials, Environment, ErrorKind, Limits, Lookup, Outbound, RetryLimits, SystemLookup,
    webhook::Webhook,
};
use freehold_domain::network::AddressPolicy;
use freehold_fakes::{Fault, Receiver, Reply};
use futures::future::{BoxFuture, FutureExt as _};
use serde_json::json;

use crate::support::{TestClock, TestRandom, limits};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Answers with a public address first and with this machine from then on.
struct Rebinding(AtomicUsize);

impl Lookup for Rebinding {
    fn lookup<'a>(&'a self, _host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let asked = self.0.fetch_add(1, Ordering::SeqCst);
        // TEST-NET-1, where nobody answers.
        let address = if asked == 0 { IpAddr::from([192, 0, 2, 1]) } else { IpAddr::from([127, 0, 0, 1]) };
        async move { Ok(vec![address]) }.boxed()
    }
}

/// Gives these addresses for every name.
struct Fixed(Vec<IpAddr>);

impl Lookup for Fixed {
    fn lookup<'a>(&'a self, _host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let found = self.0.clone();
        async move { Ok(found) }.boxed()
    }
}

async fn deliver(
    url: &str,
    ca: &str,
    lookup: Arc<dyn Lookup>,
    allow_private: bool,
    limits: Limits,
) -> Result<(), (ErrorKind, String)> {
    let policy = Arc::new(AddressPolicy::new(&[], allow_private));
    let environment = Environment { policy, lookup, clock: TestClock::new(), random: Arc::new(TestRandom) };
    let outbound = Outbound::new("connections/x", "webhook", Some(ca), limits, environment).expect("a client can be made");
    let credentials = Arc::new(Credentials::none().with("secret", SECRET));
    let cx = Context::new(Arc::new(outbound), json!({ "url": url }), credentials).within(Duration::from_secs(20));
    let sent = Webhook::new().invoke(&cx, "deliver", json!({ "type": "t", "id": "e", "data": {} })).await;
    sent.map(|_| ()).map_err(|error| (error.kind, error.message))
}

fn fast() -> Limits {
    Limits { connect: Duration::from_millis(200), retry: RetryLimits { attempts: 3, ..limits().retry }, ..limits() }
}

#[tokio::test]
async fn no_way_to_write_an_address_leads_there() {
    let receiver = Receiver::start(SECRET).await;
    let port = receiver.server.port();
    let hosts = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "0.0.0.0",
        "0",
        "[::]",
        "localhost",
        "LOCALHOST",
        "ⓛocalhost",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "100.100.100.200",
        "168.63.129.16",
    ];
    for host in hosts {
        let url = format!("https://{host}:{port}/");
        let refused = deliver(&url, receiver.server.ca(), Arc::new(SystemLookup), false, fast()).await;
        assert!(matches!(refused, Err((ErrorKind::Invalid, _))), "{host}: {refused:?}");
    }
    for url in [
        format!("http://93.184.215.14:{port}/"),
        "https://[fe80::1%25lo]/".to_owned(),
        "gopher://93.184.215.14/".to_owned(),
        "https://ada:secret@93.184.215.14/".to_owned(),
    ] {
        let refused = deliver(&url, receiver.server.ca(), Arc::new(SystemLookup), false, fast()).await;
        assert!(matches!(refused, Err((ErrorKind::Invalid, _))), "{url}: {refused:?}");
    }
    assert_eq!(receiver.server.sockets(), 0);
}

#[tokio::test]
async fn also_who_may_reach_private_addresses_reaches_no_metadata() {
    let receiver = Receiver::start(SECRET).await;
    let hosts = ["169.254.169.254", "[::ffff:a9fe:a9fe]", "[fd00:ec2::254]", "[fe80::1]", "100.100.100.200", "0.0.0.0"];
    for host in hosts {
        let url = format!("https://{host}:{}/", receiver.server.port());
        let refused = deliver(&url, receiver.server.ca(), Arc::new(SystemLookup), true, fast()).await;
        assert!(matches!(refused, Err((ErrorKind::Invalid, _))), "{host}: {refused:?}");
    }
    assert_eq!(receiver.server.sockets(), 0);
}

#[tokio::test]
async fn a_name_is_judged_by_what_it_stands_for_when_it_is_connected_to() {
    let receiver = Receiver::start(SECRET).await;
    let url = format!("https://vendor.example:{}/", receiver.server.port());

    let lookup = Arc::new(Rebinding(AtomicUsize::new(0)));
    let refused = deliver(&url, receiver.server.ca(), Arc::clone(&lookup) as _, false, fast()).await;
    assert!(matches!(refused, Err((ErrorKind::Invalid, _))), "{refused:?}");
    assert_eq!(lookup.0.load(Ordering::SeqCst), 2, "asked again for the second attempt, and refused then");

    let here = IpAddr::from([127, 0, 0, 1]);
    for found in [vec![here], vec![IpAddr::from([192, 0, 2, 1]), here], vec!["::ffff:127.0.0.1".parse().expect("an address")]] {
        let refused = deliver(&url, receiver.server.ca(), Arc::new(Fixed(found.clone())), false, fast()).await;
        assert!(matches!(refused, Err((ErrorKind::Invalid, _))), "{found:?}: {refused:?}");
    }
    assert_eq!(receiver.server.sockets(), 0);

    assert_eq!(deliver(&url, receiver.server.ca(), Arc::new(Fixed(vec![here])), true, fast()).await, Ok(()), "allowed, it works");
}

#[tokio::test]
async fn a_redirect_leads_nowhere() {
    let (receiver, other) = (Receiver::start(SECRET).await, Receiver::start(SECRET).await);
    for status in [301, 302, 303, 307, 308] {
        receiver.server.fail_next(Fault::Reply(Reply::text(status, "").with("location", other.server.url())));
        let refused = deliver(&receiver.server.url(), receiver.server.ca(), Arc::new(SystemLookup), true, fast()).await;
        assert!(matches!(refused, Err((ErrorKind::Permanent, _))), "{status}: {refused:?}");
    }
    assert_eq!((receiver.server.requests().len(), other.server.sockets()), (5, 0));
}
