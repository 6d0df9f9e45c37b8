//! Names become addresses here and nowhere else, so that what was checked is what is connected to.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use freehold_domain::network::{AddressPolicy, Refusal};
use futures::future::{BoxFuture, FutureExt as _};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Finds the addresses of a name.
pub trait Lookup: Send + Sync + 'static {
    /// All of them.
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// Asks the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) }.boxed()
    }
}

/// Gives only addresses that may be reached, at the moment in which a connection is made.
#[derive(Clone)]
pub(crate) struct Checked {
    pub policy: Arc<AddressPolicy>,
    pub lookup: Arc<dyn Lookup>,
}

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unresolved {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("`{0}` cannot be looked up: {1}")]
    Unknown(String, io::Error),
    #[error("`{0}` has no address")]
    Nothing(String),
}

impl Checked {
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Unresolved> {
        self.policy.check(host)?;
        let found = self.lookup.lookup(host).await.map_err(|error| Unresolved::Unknown(host.to_owned(), error))?;
        if found.is_empty() {
            return Err(Unresolved::Nothing(host.to_owned()));
        }
        self.policy.check_all(host, &found)?;
        Ok(found)
    }
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let found = Self::resolve(&this, name.as_str()).await?;
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
