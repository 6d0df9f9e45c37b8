//! Where a runner may connect to on behalf of a blueprint.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use freehold_domain::network::{AddressPolicy, Refusal};
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

use crate::StepError;

/// The hosts and addresses that a runner may reach, with the failures of steps.
#[derive(Clone, Debug)]
pub struct Policy(AddressPolicy);

impl Policy {
    /// These hosts, or every host when none is named; private addresses too when they are allowed.
    pub fn new(allowed_hosts: Vec<String>, allow_private: bool) -> Self {
        Self(AddressPolicy::new(&allowed_hosts, allow_private))
    }

    /// Checks what can be told without looking the host up.
    pub(crate) fn check_url(&self, url: &Url) -> Result<(), StepError> {
        if !matches!(url.scheme(), "http" | "https") {
            let message = format!("`{}` is not a scheme this runner speaks", url.scheme());
            return Err(refused(Refusal { message, hint: "use https or http" }));
        }
        self.0.check(url.host_str().unwrap_or_default()).map_err(refused)
    }

    /// Checks a host by its name.
    ///
    /// # Errors
    /// `host-refused` when it is not among those that are allowed.
    pub fn check_host(&self, host: &str) -> Result<(), StepError> {
        self.0.check_host(host).map_err(refused)
    }

    /// Checks an address that a host stands for.
    ///
    /// # Errors
    /// `host-refused` when nobody may reach it, or it is private and those may not be reached.
    pub fn check_address(&self, host: &str, address: IpAddr) -> Result<(), StepError> {
        self.0.check_address(host, address).map_err(refused)
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

    fn check_addresses(&self, host: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, StepError> {
        if found.is_empty() {
            return Err(StepError::new("host-unknown", format!("`{host}` has no address")).hint("look at the name"));
        }
        self.0.check_all(host, &found).map_err(refused)?;
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

fn refused(refusal: Refusal) -> StepError {
    StepError::new("host-refused", refusal.message).hint(refusal.hint)
}

#[cfg(test)]
mod tests {
    use super::*;

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
