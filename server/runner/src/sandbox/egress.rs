//! The only way out of a program's network: an HTTP proxy in its supervisor, which connects where the runner allows it.
//!
//! Programs find it by `HTTPS_PROXY` and `HTTP_PROXY`. It knows `CONNECT` (RFC 9110, section 9.3.6) and requests with a whole URL
//! (RFC 9112, section 3.2.2). Names are looked up here, once, and the address that was checked is the one that is connected to.
//!
//! For loopback no program asks a proxy. A port of it that is allowed by its address is therefore there inside too: a [`relay`].

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use freehold_engines::HostPolicy;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

/// Connections at a time.
const CONNECTIONS: usize = 256;
/// Bytes of the head of a request.
const HEAD: usize = 16 << 10;
/// Bytes of a request that was refused, and the time for them, that are still taken.
const UNREAD: u64 = 64 << 10;
const FAREWELL: Duration = Duration::from_secs(1);
/// For a head to come, and for a connection to be made.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where programs may connect to. Addresses of the link, where clouds hand out credentials, are nowhere among it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Egress {
    /// What an operator allows.
    pub allowed: Allowed,
    /// Whether loopback and private addresses may be reached by name; a network that is allowed by its addresses may anyway.
    pub private: bool,
}

/// What an operator allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allowed {
    /// Nothing.
    None,
    /// Every host.
    All,
    /// These.
    Only(Vec<Rule>),
}

/// A host or a network that is allowed: `registry.opentofu.org`, `*.amazonaws.com:443`, `10.1.0.0/16`, `[fd00::]/8`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    to: Target,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    /// As `HostPolicy` has them.
    Host(String),
    Network(IpAddr, u8),
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "all" => Ok(Self::All),
            list => list.split(',').map(|rule| rule.trim().parse()).collect::<Result<_, _>>().map(Self::Only),
        }
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is neither `none`, `all`, HOST[:PORT], *.DOMAIN[:PORT] nor a network as 10.0.0.0/8");
        let plain = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        if let Some((address, bits)) = text.split_once('/') {
            let (address, bits) = (plain(address).ok_or_else(wrong)?, bits.parse().map_err(|_| wrong())?);
            let most = if address.is_ipv4() { 32 } else { 128 };
            return if bits <= most { Ok(Self { to: Target::Network(address, bits), port: None }) } else { Err(wrong()) };
        }
        if let Some(address) = plain(text) {
            return Ok(Self { to: Target::Network(address, if address.is_ipv4() { 32 } else { 128 }), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        if let Some(address) = plain(host) {
            return Ok(Self { to: Target::Network(address, if address.is_ipv4() { 32 } else { 128 }), port });
        }
        let labels = host.strip_prefix("*.").unwrap_or(host);
        let is_name = !labels.is_empty()
            && labels.split('.').all(|label| {
                !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            });
        if is_name { Ok(Self { to: Target::Host(host.to_owned()), port }) } else { Err(wrong()) }
    }
}

impl Egress {
    /// Ports of this machine's loopback that are allowed by their addresses.
    pub(super) fn loopback(&self) -> Vec<SocketAddr> {
        let Allowed::Only(rules) = &self.allowed else { return Vec::new() };
        let port = |rule: &Rule| match rule.to {
            Target::Network(address, 32 | 128) if address.is_loopback() => Some(SocketAddr::new(address, rule.port?)),
            _ => None,
        };
        let mut ports: Vec<_> = rules.iter().filter_map(port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// The addresses behind a host and port, all of which may be reached.
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let rules = match &self.allowed {
            Allowed::None => return Err("this runner lets programs connect to nothing".to_owned()),
            Allowed::All => &[][..],
            Allowed::Only(rules) => rules,
        };
        let fits = |rule: &&Rule| rule.port.is_none_or(|allowed| allowed == port);
        let names: Vec<_> = rules.iter().filter(fits).filter_map(Rule::host).collect();
        let named = self.allowed == Allowed::All || (!names.is_empty() && HostPolicy::new(names, true).check_host(host).is_ok());
        // A name that is not allowed is not even looked up, unless an allowed network may be behind it.
        if !named && !rules.iter().filter(fits).any(|rule| matches!(rule.to, Target::Network(..))) {
            return Err(format!("{host}:{port} is not among the hosts that this runner lets programs connect to"));
        }
        let reachable = HostPolicy::new(Vec::new(), true).resolve(host).await.map_err(|error| error.message)?;
        let public = HostPolicy::new(Vec::new(), self.private);
        for address in &reachable {
            let listed = rules.iter().filter(fits).any(|rule| rule.holds(*address));
            if !listed && !named {
                return Err(format!("{host}:{port} is not among the hosts that this runner lets programs connect to"));
            }
            if !listed {
                public.check_address(host, *address).map_err(|error| error.message)?;
            }
        }
        Ok(reachable.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }
}

impl Rule {
    fn host(&self) -> Option<String> {
        match &self.to {
            Target::Host(host) => Some(host.clone()),
            Target::Network(..) => None,
        }
    }

    fn holds(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, true),
            IpAddr::V6(v6) => (u128::from(v6), false),
        };
        let Target::Network(network, length) = self.to else { return false };
        let ((network, v4), (address, other)) = (bits(network), bits(address.to_canonical()));
        let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        v4 == other && network & mask == address & mask
    }
}

/// Serves connections of the program to the proxy until it is dropped.
pub(super) async fn serve(listener: TcpListener, egress: Egress) {
    let egress = Arc::new(egress);
    each(listener, move |client| {
        let egress = Arc::clone(&egress);
        async move { connect(client, &egress).await }
    })
    .await;
}

/// Passes connections of the program on to an address of this machine until it is dropped.
pub(super) async fn relay(listener: TcpListener, to: SocketAddr) {
    each(listener, move |mut client| async move {
        let mut server = timeout(PATIENCE, TcpStream::connect(to)).await??;
        copy_bidirectional(&mut client, &mut server).await.map(drop)
    })
    .await;
}

/// Does this with each connection, so many at a time.
async fn each<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
        let Ok((client, _)) = listener.accept().await else {
            // As when there are too many open files; it passes.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let served = serve(client);
        connections.spawn(async move {
            let _place = place;
            // Whatever the program sees of it: it is its connection.
            let _ = served.await;
        });
    }
}

async fn connect(mut client: TcpStream, egress: &Egress) -> std::io::Result<()> {
    let Ok(Some((head, rest))) = timeout(PATIENCE, read_head(&mut client)).await else {
        return refuse(&mut client, "400 Bad Request", "no request could be read").await;
    };
    let Some(request) = Request::parse(&head) else {
        return refuse(&mut client, "400 Bad Request", "only CONNECT and requests with a whole http URL are understood").await;
    };
    let addresses = match egress.addresses(&request.host, request.port).await {
        Ok(addresses) => addresses,
        Err(why) => return refuse(&mut client, "403 Forbidden", &why).await,
    };
    let server = match timeout(PATIENCE, TcpStream::connect(&addresses[..])).await {
        Ok(Ok(server)) => server,
        Ok(Err(error)) => return refuse(&mut client, "502 Bad Gateway", &error.to_string()).await,
        Err(_) => return refuse(&mut client, "504 Gateway Timeout", "the host does not answer").await,
    };
    let mut server = server;
    match &request.forward {
        None => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?,
        Some(head) => server.write_all(head.as_bytes()).await?,
    }
    server.write_all(&rest).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// The head of a request, and what came behind it.
async fn read_head(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Some((String::from_utf8(bytes).ok()?, rest));
        }
        if bytes.len() >= HEAD || client.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn refuse(client: &mut TcpStream, status: &str, why: &str) -> std::io::Result<()> {
    let length = why.len() + 1;
    let answer =
        format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{why}\n");
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await?;
    // A socket that is closed with input unread is reset, and the client would lose the answer.
    let unread = async { tokio::io::copy(&mut client.take(UNREAD), &mut tokio::io::sink()).await };
    timeout(FAREWELL, unread).await.unwrap_or(Ok(0)).map(drop)
}

/// A request to the proxy.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    host: String,
    port: u16,
    /// What the server is sent of it; nothing for a tunnel.
    forward: Option<String>,
}

impl Request {
    fn parse(head: &str) -> Option<Self> {
        let (line, fields) = head.split_once("\r\n")?;
        let mut words = line.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if method == "CONNECT" {
            let (host, port) = authority(target)?;
            return Some(Self { host, port: port?, forward: None });
        }
        let rest = target.strip_prefix("http://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, port) = authority(&rest[..end])?;
        let path = if rest[end..].starts_with('/') { rest[end..].to_owned() } else { format!("/{}", &rest[end..]) };
        let mut forward = format!("{method} {path} {version}\r\nConnection: close\r\n");
        for field in fields.split_terminator("\r\n").filter(|field| !field.is_empty()) {
            let name = field.split(':').next().unwrap_or_default().to_ascii_lowercase();
            if !name.starts_with("proxy-") && name != "connection" && name != "keep-alive" {
                forward += field;
                forward += "\r\n";
            }
        }
        Some(Self { host, port: port.unwrap_or(80), forward: Some(forward + "\r\n") })
    }
}

/// Host and port; no user, and a literal address without its brackets.
fn authority(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(str::parse).transpose().ok()?;
    (!host.is_empty() && !host.contains('@')).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(allowed: &str, private: bool) -> Egress {
        Egress { allowed: allowed.parse().expect("rules"), private }
    }

    #[tokio::test]
    async fn what_may_be_reached_is_what_the_rules_say() {
        let table = [
            ("none", true, "127.0.0.1", 80, false),
            ("all", false, "127.0.0.1", 80, false),
            ("all", true, "127.0.0.1", 80, true),
            ("all", false, "93.184.215.14", 80, true),
            ("all", true, "169.254.169.254", 80, false),
            ("all", true, "::ffff:169.254.169.254", 80, false),
            ("all", true, "fe80::1", 80, false),
            ("127.0.0.1", false, "127.0.0.1", 80, true),
            ("127.0.0.1:81", false, "127.0.0.1", 80, false),
            ("127.0.0.0/8", false, "127.9.9.9", 80, true),
            ("10.0.0.0/8", true, "127.0.0.1", 80, false),
            ("0.0.0.0/0", true, "169.254.169.254", 80, false),
            ("[::1]/128", false, "::1", 443, true),
            ("localhost", true, "localhost", 80, true),
            ("localhost", false, "localhost", 80, false),
            ("localhost:443", true, "localhost", 80, false),
            ("*.localhost", true, "localhost", 80, false),
        ];
        for (rules, private, host, port, may) in table {
            let found = egress(rules, private).addresses(host, port).await;
            assert_eq!(found.is_ok(), may, "{rules} private={private} {host}:{port}: {found:?}");
        }
        let loopback =
            egress("10.0.0.1:80,127.0.0.1:4566,127.0.0.1:4566,127.0.0.1,[::1]:80,127.0.0.0/8,localhost:81", false).loopback();
        assert_eq!(loopback, ["127.0.0.1:4566".parse().expect("an address"), "[::1]:80".parse().expect("an address")]);
        for wrong in ["", "a b", "10.0.0.0/33", "host:port", "http://x", "a..b"] {
            assert!(wrong.parse::<Allowed>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn requests_are_sent_on_without_what_concerns_the_proxy() {
        let connect = Request::parse("CONNECT [::1]:443 HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(connect, Some(Request { host: "::1".to_owned(), port: 443, forward: None }));
        let get = "GET http://a.example:8080/x?y HTTP/1.1\r\nHost: a.example\r\nProxy-Authorization: s\r\nConnection: x\r\n\r\n";
        let forward = "GET /x?y HTTP/1.1\r\nConnection: close\r\nHost: a.example\r\n\r\n".to_owned();
        assert_eq!(Request::parse(get), Some(Request { host: "a.example".to_owned(), port: 8080, forward: Some(forward) }));
        for wrong in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET ftp://x/ HTTP/1.1\r\n\r\n",
            "CONNECT x HTTP/1.1\r\n\r\n",
            "CONNECT u@x:1 HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(Request::parse(wrong), None, "{wrong}");
        }
    }
}
