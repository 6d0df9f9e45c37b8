//! The servers of one installation, and which of them to call now.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::Uri;
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::{
    Code, Credentials, Error, Violation,
    connect::{Connector, Watch},
    error::{Result, Started},
    retry::{Budget, random},
    tls::Tls,
};

/// How long a server that failed is passed over: at first, and at most.
const AVOID: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// All servers; each has one connection for calls and one for streams, made when first used.
pub(crate) struct Pool {
    servers: Vec<Server>,
    tls: Option<Arc<Tls>>,
}

/// One server.
pub(crate) struct Server {
    connector: Connector,
    health: Mutex<Health>,
    /// What it can be asked again.
    pub(crate) budget: Budget,
    /// For calls and for streams: a long stream would keep a connection that the server wants to be rid of.
    channels: [Mutex<Option<(u64, Channel)>>; 2],
}

#[derive(Default)]
struct Health {
    failures: u32,
    avoid_until: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(endpoints: &[String], credentials: &Credentials, connect_timeout: Duration) -> Result<Self> {
        let parsed = parse_all(endpoints)?;
        let secure = parsed.iter().any(|endpoint| endpoint.secure);
        let plain = parsed.iter().find(|endpoint| !endpoint.secure);
        if let Some(plain) = plain.filter(|plain| credentials.token.is_some() && !is_loopback(&plain.host)) {
            let problem = format!("http://{}:{} would show your token to the network; use https://", plain.host, plain.port);
            return Err(Error::invalid(vec![Violation::new("endpoint", problem)]));
        }
        let tls = if secure { Some(Arc::new(Tls::load(credentials)?)) } else { None };
        let mut servers: Vec<_> = parsed
            .into_iter()
            .map(|endpoint| Server {
                connector: Connector {
                    host: endpoint.host,
                    port: endpoint.port,
                    tls: tls.clone().filter(|_| endpoint.secure),
                    patience: connect_timeout,
                    watch: Arc::default(),
                },
                health: Mutex::default(),
                budget: Budget::default(),
                channels: [Mutex::default(), Mutex::default()],
            })
            .collect();
        // The first one that works is used; that clients begin at different ones spreads them.
        let first = (random() * servers.len() as f64) as usize;
        servers.rotate_left(first);
        Ok(Self { servers, tls })
    }

    /// The server to call now: the first that is not being avoided, or the one to be avoided no longer first.
    pub(crate) fn pick(&self, streams: bool) -> Result<(&Server, Channel)> {
        let server = self.next();
        let generation = self.tls.as_ref().map_or(0, |tls| tls.current().generation);
        Ok((server, server.channel(streams, generation)?))
    }

    /// Whether the server to call now can be asked again after this error.
    pub(crate) fn allows(&self, error: &Error) -> bool {
        self.next().budget.allows(error)
    }

    fn next(&self) -> &Server {
        let now = Instant::now();
        let waits = |server: &Server| server.avoided_until().map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        self.servers.iter().min_by_key(|server| waits(server)).expect("a pool has a server")
    }
}

impl Server {
    fn channel(&self, streams: bool, generation: u64) -> Result<Channel> {
        let mut slot = self.channels[usize::from(streams)].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, channel)) = slot.as_ref().filter(|(made, _)| *made == generation) {
            return Ok(channel.clone());
        }
        // Dropping the old channel lets its calls end: they hold on to the connection themselves.
        let channel = self.open()?;
        *slot = Some((generation, channel.clone()));
        Ok(channel)
    }

    fn open(&self) -> Result<Channel> {
        let name = self.name();
        let internal =
            |error: &dyn std::fmt::Display| Error::new(Code::InvalidArgument, format!("{name}: {error}")).started(Started::Never);
        let origin: Uri = name.parse().map_err(|error| internal(&error))?;
        // tonic refuses `https` unless its own TLS is used; the origin is what the server sees.
        let address = name.replacen("https://", "http://", 1);
        let endpoint = Channel::from_shared(address)
            .map_err(|error| internal(&error))?
            .origin(origin)
            .user_agent(concat!("freehold-rust/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| internal(&error))?
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(15))
            .keep_alive_while_idle(true)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20);
        Ok(endpoint.connect_with_connector_lazy(self.connector.clone()))
    }

    /// Its address, for errors.
    pub(crate) fn name(&self) -> String {
        self.connector.to_string()
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.connector.watch
    }

    pub(crate) fn has_identity(&self) -> bool {
        self.connector.tls.as_ref().is_some_and(|tls| tls.has_identity())
    }

    /// It answered.
    pub(crate) fn works(&self) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = Health::default();
    }

    /// It did not answer, or asked to be left alone.
    pub(crate) fn failed(&self) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = AVOID.0.saturating_mul(1 << health.failures.min(5)).min(AVOID.1);
        health.failures += 1;
        health.avoid_until = Some(Instant::now() + pause);
    }

    fn avoided_until(&self) -> Option<Instant> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).avoid_until
    }
}

#[derive(Debug, PartialEq)]
struct Endpoint {
    host: String,
    port: u16,
    secure: bool,
}

/// Reads endpoints, each of which can be a list with commas, and names all that are wrong.
fn parse_all(endpoints: &[String]) -> Result<Vec<Endpoint>> {
    let texts: Vec<_> =
        endpoints.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|text| !text.is_empty()).collect();
    let (good, bad): (Vec<_>, Vec<_>) = texts.iter().map(|text| (text, parse(text))).partition(|(_, parsed)| parsed.is_some());
    if bad.is_empty() && !good.is_empty() {
        return Ok(good.into_iter().filter_map(|(_, parsed)| parsed).collect());
    }
    if texts.is_empty() {
        let problem = "there is none; name the server, for example https://freehold.example:7443 (FREEHOLD_ENDPOINT)";
        return Err(Error::invalid(vec![Violation::new("endpoint", problem)]));
    }
    let wrong = |(text, _): (&&str, _)| {
        Violation::new("endpoint", format!("`{text}` is not an address like https://freehold.example:7443"))
    };
    Err(Error::invalid(bad.into_iter().map(wrong).collect()))
}

fn parse(text: &str) -> Option<Endpoint> {
    let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let uri: Uri = text.parse().ok()?;
    let secure = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    if !matches!(uri.path_and_query().map(http::uri::PathAndQuery::as_str), None | Some("/" | "")) {
        return None;
    }
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some(Endpoint { host, port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }), secure })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_all_wrong_ones_named() {
        let one = |host: &str, port, secure| Endpoint { host: host.to_owned(), port, secure };
        let read = |text: &str| parse_all(&[text.to_owned()]);
        assert_eq!(
            read("https://a.example, b.example:7443,http://[::1]:80/").expect("good"),
            [one("a.example", 443, true), one("b.example", 7443, true), one("::1", 80, false)]
        );
        assert_eq!(read("ftp://a,https://b/c,https://d").expect_err("two wrong").violations().len(), 2);
        assert!(read(" ,").expect_err("none").message().contains("FREEHOLD_ENDPOINT"));
    }

    #[test]
    fn a_token_is_not_sent_in_the_clear() {
        let credentials = Credentials::new().bearer_token("secret");
        let new = |endpoint: &str| Pool::new(&[endpoint.to_owned()], &credentials, Duration::from_secs(1));
        assert!(new("http://freehold.example").is_err());
        assert!(new("http://127.0.0.1:7000").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_failed_is_passed_over_for_a_while() {
        let pool = Pool::new(&["http://one,http://two".to_owned()], &Credentials::new(), Duration::from_secs(1)).expect("a pool");
        let picked = || pool.pick(false).expect("a server").0.name();
        let first = picked();
        assert_eq!(first, picked(), "calls stay on one server");
        pool.pick(false).expect("a server").0.failed();
        let second = picked();
        assert_ne!(first, second);
        tokio::time::advance(Duration::from_millis(500)).await;
        pool.pick(false).expect("a server").0.failed();
        assert_eq!(picked(), first, "with all of them failing, the one that failed longest ago");
        tokio::time::advance(Duration::from_secs(2)).await;
        pool.pick(false).expect("a server").0.works();
        assert_eq!(picked(), first);
    }
}
