//! How many connections each address holds.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// Counts connections by address and refuses those over the limit.
#[derive(Clone)]
pub(super) struct Addresses {
    limit: usize,
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection's place; dropped, it is free again.
pub(super) struct Admitted {
    address: IpAddr,
    addresses: Addresses,
}

impl Addresses {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, held: Arc::default() }
    }

    /// A place for one more connection, unless the address holds its share.
    pub(super) fn admit(&self, ip: IpAddr) -> Option<Admitted> {
        let address = network(ip);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(address).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Admitted { address, addresses: self.clone() })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut held = self.addresses.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

/// What one customer of a provider holds: an IPv4 address, or an IPv6 network of 64 bits.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let addresses = Addresses::new(1);
        let ip = |text: &str| text.parse::<IpAddr>().expect("valid");
        let first = addresses.admit(ip("2001:db8::1")).expect("free");
        assert!(addresses.admit(ip("2001:db8::2")).is_none(), "the same /64");
        assert!(addresses.admit(ip("2001:db8:0:1::1")).is_some());
        let v4 = addresses.admit(ip("192.0.2.1")).expect("free");
        assert!(addresses.admit(ip("::ffff:192.0.2.1")).is_none(), "the same address");
        drop((first, v4));
        assert!(addresses.held.lock().expect("sound").is_empty());
    }
}
