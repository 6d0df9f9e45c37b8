//! Where a runner may connect to on behalf of a blueprint.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

use crate::StepError;

/// Hosts and addresses that may be reached. Link-local addresses, where clouds serve credentials, never may.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Names as in URLs; `*.example.com` stands for all below it. Empty means every host.
    allowed_hosts: Vec<String>,
    /// Loopback and private networks may be reached.
    allow_private: bool,
}

impl Policy {
    /// These hosts, or every host when none is named; private addresses too when they are allowed.
    pub fn new(allowed_hosts: Vec<String>, allow_private: bool) -> Self {
        Self { allowed_hosts: allowed_hosts.iter().map(|host| host.to_lowercase()).collect(), allow_private }
    }

    /// Checks what can be told without looking the host up.
    pub(crate) fn check_url(&self, url: &Url) -> Result<(), StepError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused(format!("`{}` is not a scheme this runner speaks", url.scheme())).hint("use https or http"));
        }
        let host = url.host_str().unwrap_or_default();
        self.check_host(host)?;
        if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
            self.check_address(host, address)?;
        }
        Ok(())
    }

    /// Checks a host by its name.
    ///
    /// # Errors
    /// `host-refused` when it is not among those that are allowed.
    pub fn check_host(&self, host: &str) -> Result<(), StepError> {
        let host = host.to_lowercase();
        let fits = |allowed: &String| match allowed.strip_prefix("*.") {
            Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            None => *allowed == host,
        };
        if self.allowed_hosts.is_empty() || self.allowed_hosts.iter().any(fits) {
            return Ok(());
        }
        Err(refused(format!("`{host}` is not among the hosts that this runner may reach"))
            .hint("ask the operator of the runner to allow it"))
    }

    /// Checks an address that a host stands for.
    ///
    /// # Errors
    /// `host-refused` when nobody may reach it, or it is private and those may not be reached.
    pub fn check_address(&self, host: &str, address: IpAddr) -> Result<(), StepError> {
        match classify(address) {
            Class::Forbidden => Err(refused(format!("`{host}` stands for an address that no blueprint may reach"))),
            Class::Private if !self.allow_private => {
                Err(refused(format!("`{host}` stands for a private address"))
                    .hint("use a runner that may reach private addresses"))
            }
            Class::Private | Class::Public => Ok(()),
        }
    }

    /// The addresses of a host, all of which may be reached.
    ///
    /// # Errors
    /// `host-unknown` when there are none, and `host-refused` when one of them may not be reached.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, StepError> {
        let found = tokio::net::lookup_host((host, 0)).await.map_err(|error| {
            StepError::new("host-unknown", format!("`{host}` cannot be looked up: {error}")).hint("look at the name").retryable()
        })?;
        self.check_addresses(host, found.map(|address| address.ip()).collect())
    }

    /// Checks what a lookup found. One address that may not be reached speaks against the whole name: who owns it decides which
    /// of its addresses answers.
    fn check_addresses(&self, host: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, StepError> {
        if found.is_empty() {
            return Err(StepError::new("host-unknown", format!("`{host}` has no address")).hint("look at the name"));
        }
        found.iter().try_for_each(|address| self.check_address(host, *address))?;
        Ok(found)
    }
}

/// Resolves names for connections, so that what was checked is what is connected to.
pub(crate) struct CheckedResolver(pub Arc<Policy>);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = policy.resolve(name.as_str()).await?;
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

fn refused(message: String) -> StepError {
    StepError::new("host-refused", message)
}

#[derive(Debug, PartialEq, Eq)]
enum Class {
    Public,
    /// Loopback, RFC 1918, RFC 4193, RFC 6598.
    Private,
    /// Link-local (RFC 3927, RFC 4291), the metadata service of AWS over IPv6, and what is no host.
    Forbidden,
}

fn classify(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => match embedded_v4(v6) {
            Some(v4) => classify_v4(v4),
            None => classify_v6(v6),
        },
    }
}

fn classify_v4(address: Ipv4Addr) -> Class {
    let [a, b, ..] = address.octets();
    if a == 0 || address.is_link_local() || address.is_multicast() || a >= 240 {
        Class::Forbidden
    } else if address.is_loopback() || address.is_private() || (a == 100 && (64..128).contains(&b)) {
        Class::Private
    } else {
        Class::Public
    }
}

fn classify_v6(address: Ipv6Addr) -> Class {
    let metadata = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    if address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local() || address == metadata {
        Class::Forbidden
    } else if address.is_loopback() || address.is_unique_local() {
        Class::Private
    } else {
        Class::Public
    }
}

/// The IPv4 address that an IPv6 address leads to: mapped (RFC 4291), NAT64 (RFC 6052) and 6to4 (RFC 3056).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => v4(g, h),
        (0x2002, high, low, ..) => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_fall_into_their_class() {
        let cases = [
            ("169.254.169.254", Class::Forbidden),
            ("::ffff:169.254.169.254", Class::Forbidden),
            ("64:ff9b::a9fe:a9fe", Class::Forbidden),
            ("2002:a9fe:a9fe::1", Class::Forbidden),
            ("fe80::1", Class::Forbidden),
            ("fd00:ec2::254", Class::Forbidden),
            ("0.0.0.0", Class::Forbidden),
            ("::", Class::Forbidden),
            ("255.255.255.255", Class::Forbidden),
            ("127.0.0.1", Class::Private),
            ("::1", Class::Private),
            ("::ffff:10.1.2.3", Class::Private),
            ("192.168.0.1", Class::Private),
            ("100.100.100.200", Class::Private),
            ("fd12::1", Class::Private),
            ("93.184.215.14", Class::Public),
            ("100.128.0.1", Class::Public),
            ("2606:2800::1", Class::Public),
        ];
        for (address, class) in cases {
            assert_eq!(classify(address.parse().expect("an address")), class, "{address}");
        }
    }

    #[test]
    fn one_refused_address_refuses_the_name() {
        let (public, private) = (IpAddr::from([93, 184, 215, 14]), IpAddr::from([10, 0, 0, 1]));
        let metadata = IpAddr::from([169, 254, 169, 254]);
        let check = |allow_private: bool, found: &[IpAddr]| {
            Policy::new(Vec::new(), allow_private).check_addresses("two.example", found.to_vec())
        };

        assert_eq!(check(false, &[public]), Ok(vec![public]));
        assert_eq!(check(true, &[public, private]), Ok(vec![public, private]));
        for (allow_private, found) in
            [(false, vec![public, private]), (false, vec![private, public]), (true, vec![public, metadata])]
        {
            assert_eq!(check(allow_private, &found).expect_err("refused").code, "host-refused", "{found:?}");
        }
        assert_eq!(check(true, &[]).expect_err("nothing to connect to").code, "host-unknown");
    }

    #[test]
    fn urls_are_refused_by_scheme_host_and_literal_address() {
        let policy = Policy::new(vec!["api.example.com".into(), "*.Trusted.example".into(), "10.0.0.1".into()], false);
        let check = |url: &str| policy.check_url(&url.parse().expect("a URL"));

        for good in ["https://api.example.com/x", "http://API.example.com:8080", "https://a.b.trusted.example"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "ftp://api.example.com",
            "https://example.com",
            "https://trusted.example",
            "https://eviltrusted.example",
            "http://10.0.0.1",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        let open = Policy::new(Vec::new(), true);
        // Every way to write the address ends in the same one, because URLs normalise it.
        for bad in ["http://169.254.169.254", "http://[::ffff:a9fe:a9fe]/", "http://2852039166/", "http://0xa9fea9fe/"] {
            assert!(open.check_url(&bad.parse().expect("a URL")).is_err(), "{bad}");
        }
    }
}
