//! Where something may be reached on behalf of a tenant: hosts by name, and the addresses that they stand for.
//!
//! A name is checked when it is written down, and its addresses when a connection is made: who owns a name decides what it stands
//! for at any moment.

use std::{
    error::Error,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Hosts and addresses that may be reached. Link-local addresses and others where clouds serve credentials never may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Names as in URLs; `*.example.com` stands for all below it. Empty means every host.
    allowed_hosts: Vec<String>,
    /// Loopback and private networks may be reached.
    allow_private: bool,
}

/// Why something may not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is refused.
    pub message: String,
    /// What would be right; may be empty.
    pub hint: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, " ({})", self.hint) }
    }
}

impl Error for Refusal {}

impl AddressPolicy {
    /// These hosts, or every host when none is named; private addresses too when they are allowed.
    pub fn new(allowed_hosts: &[String], allow_private: bool) -> Self {
        Self { allowed_hosts: allowed_hosts.iter().map(|host| host.to_lowercase()).collect(), allow_private }
    }

    /// Whether loopback and private networks may be reached.
    pub const fn allows_private(&self) -> bool {
        self.allow_private
    }

    /// Checks what can be told of a host without looking it up: its name, or the address that it is written as. Brackets around an
    /// address of version 6 do not matter.
    ///
    /// # Errors
    /// As the two checks below.
    pub fn check(&self, host: &str) -> Result<(), Refusal> {
        self.check_host(host)?;
        match host.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(address) => self.check_address(host, address),
            Err(_) => Ok(()),
        }
    }

    /// Checks a host by its name.
    ///
    /// # Errors
    /// When it is not among those that are allowed.
    pub fn check_host(&self, host: &str) -> Result<(), Refusal> {
        let host = host.to_lowercase();
        let fits = |allowed: &String| match allowed.strip_prefix("*.") {
            Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            None => *allowed == host,
        };
        if self.allowed_hosts.is_empty() || self.allowed_hosts.iter().any(fits) {
            return Ok(());
        }
        Err(Refusal {
            message: format!("`{host}` is not among the hosts that may be reached from here"),
            hint: "ask the operator to allow it",
        })
    }

    /// Checks an address that a host stands for.
    ///
    /// # Errors
    /// When nobody may reach it, or it is private and those may not be reached.
    pub fn check_address(&self, host: &str, address: IpAddr) -> Result<(), Refusal> {
        match Class::of(address) {
            Class::Forbidden => {
                Err(Refusal { message: format!("`{host}` stands for an address that nobody may reach from here"), hint: "" })
            }
            Class::Private if !self.allow_private => Err(Refusal {
                message: format!("`{host}` stands for a private address"),
                hint: "ask the operator to allow private addresses, or go by a way that may reach them",
            }),
            Class::Private | Class::Public => Ok(()),
        }
    }

    /// Checks what a lookup found. One address that may not be reached speaks against the whole name: who owns it decides which
    /// of its addresses answers.
    ///
    /// # Errors
    /// For the first address that may not be reached.
    pub fn check_all(&self, host: &str, found: &[IpAddr]) -> Result<(), Refusal> {
        found.iter().try_for_each(|address| self.check_address(host, *address))
    }
}

/// What kind of network an address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The Internet, as far as an address can tell.
    Public,
    /// This machine and networks of its owner: loopback, RFC 1918, RFC 4193, RFC 6598, RFC 2544, RFC 3879, RFC 8215.
    Private,
    /// What is no host, link-local (RFC 3927, RFC 4291), and where clouds serve credentials to their machines.
    Forbidden,
}

/// Services of clouds for the machine itself that are not link-local: AWS, Alibaba, Oracle, and the host of Azure's machines.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

impl Class {
    /// The class of an address; one of version 6 that leads to one of version 4 has the class of that.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => of_v4(v4),
            IpAddr::V6(v6) => match embedded_v4(v6) {
                Some(v4) => of_v4(v4),
                None => of_v6(v6),
            },
        }
    }
}

fn of_v4(address: Ipv4Addr) -> Class {
    let [a, b, ..] = address.octets();
    if a == 0 || a >= 240 || address.is_link_local() || address.is_multicast() || METADATA_V4.contains(&address) {
        Class::Forbidden
    } else if address.is_loopback()
        || address.is_private()
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
    {
        Class::Private
    } else {
        Class::Public
    }
}

fn of_v6(address: Ipv6Addr) -> Class {
    let [a, b, c, ..] = address.segments();
    if address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local() || address == METADATA_V6 {
        Class::Forbidden
    } else if address.is_loopback() || address.is_unique_local() || a & 0xffc0 == 0xfec0 || (a, b, c) == (0x64, 0xff9b, 1) {
        Class::Private
    } else {
        Class::Public
    }
}

/// The IPv4 address that an IPv6 address leads to: mapped and compatible (RFC 4291), translated (RFC 2765), NAT64 (RFC 6052), 6to4
/// (RFC 3056) and Teredo (RFC 4380), which writes it inverted.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match (a, b, c, d, e, f) {
        // `::` and `::1` are addresses of version 6 of their own.
        (0, 0, 0, 0, 0, 0) if g == 0 => None,
        (0, 0, 0, 0, 0, 0 | 0xffff) | (0, 0, 0, 0, 0xffff, 0) | (0x64, 0xff9b, 0, 0, 0, 0) => v4(g, h),
        (0x2002, high, low, ..) => v4(high, low),
        (0x2001, 0, ..) => v4(!g, !h),
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
            ("::ffff:0:169.254.169.254", Class::Forbidden),
            ("::169.254.169.254", Class::Forbidden),
            ("64:ff9b::a9fe:a9fe", Class::Forbidden),
            ("2002:a9fe:a9fe::1", Class::Forbidden),
            ("2001:0:4136:e378:8000:63bf:5601:5601", Class::Forbidden),
            ("100.100.100.200", Class::Forbidden),
            ("192.0.0.192", Class::Forbidden),
            ("168.63.129.16", Class::Forbidden),
            ("224.0.0.1", Class::Forbidden),
            ("ff02::1", Class::Forbidden),
            ("fe80::1", Class::Forbidden),
            ("febf::1", Class::Forbidden),
            ("fd00:ec2::254", Class::Forbidden),
            ("0.0.0.0", Class::Forbidden),
            ("0.1.2.3", Class::Forbidden),
            ("::", Class::Forbidden),
            ("255.255.255.255", Class::Forbidden),
            ("127.0.0.1", Class::Private),
            ("127.255.0.1", Class::Private),
            ("::1", Class::Private),
            ("::127.0.0.1", Class::Private),
            ("::ffff:10.1.2.3", Class::Private),
            ("64:ff9b::7f00:1", Class::Private),
            ("64:ff9b:1::a00:1", Class::Private),
            ("2002:7f00:1::", Class::Private),
            ("10.0.0.1", Class::Private),
            ("172.16.0.1", Class::Private),
            ("172.31.255.255", Class::Private),
            ("192.168.0.1", Class::Private),
            ("100.64.0.1", Class::Private),
            ("198.19.0.1", Class::Private),
            ("fd12::1", Class::Private),
            ("fec0::1", Class::Private),
            ("93.184.215.14", Class::Public),
            ("100.128.0.1", Class::Public),
            ("172.32.0.1", Class::Public),
            ("198.20.0.1", Class::Public),
            ("2606:2800::1", Class::Public),
            ("::ffff:93.184.215.14", Class::Public),
        ];
        for (address, class) in cases {
            assert_eq!(Class::of(address.parse().expect("an address")), class, "{address}");
        }
    }

    #[test]
    fn one_refused_address_refuses_the_name() {
        let (public, private) = (IpAddr::from([93, 184, 215, 14]), IpAddr::from([10, 0, 0, 1]));
        let metadata = IpAddr::from([169, 254, 169, 254]);
        let check =
            |allow_private: bool, found: &[IpAddr]| AddressPolicy::new(&[], allow_private).check_all("two.example", found);

        assert_eq!(check(false, &[public]), Ok(()));
        assert_eq!(check(true, &[public, private]), Ok(()));
        for (allow_private, found) in [(false, [public, private]), (false, [private, public]), (true, [public, metadata])] {
            assert!(check(allow_private, &found).is_err(), "{found:?}");
        }
    }

    #[test]
    fn hosts_are_checked_by_name_and_as_addresses() {
        let policy = AddressPolicy::new(&["api.example.com".into(), "*.Trusted.example".into(), "10.0.0.1".into()], false);
        for good in ["api.example.com", "API.example.com", "a.b.trusted.example"] {
            assert_eq!(policy.check(good), Ok(()), "{good}");
        }
        for bad in ["example.com", "trusted.example", "eviltrusted.example", "10.0.0.1", "[::1]"] {
            assert!(policy.check(bad).is_err(), "{bad}");
        }
    }
}
