//! `freehold quota`

use clap::Subcommand;
use freehold::Client;

use super::{Guard, Listing, set};
use crate::{failure::Failure, screen::Screen};

/// What can be done with quotas.
#[derive(Subcommand, Clone, Debug)]
pub enum QuotaCommand {
    /// Lists all quotas of the tenant
    List,
    /// Shows one quota
    Get {
        /// Its dimension: projects
        name: String,
    },
    /// Sets a limit
    Set {
        /// Its dimension: projects
        name: String,
        /// The most there can be, or `none` for no limit
        #[arg(value_parser = limit)]
        limit: Limit,
        #[command(flatten)]
        guard: Guard,
    },
    /// Lists what runs under way have put aside
    Reservations(Listing),
    /// Counts again, mends the counter and says what it was off by
    Recount {
        /// Its dimension: projects
        name: String,
    },
}

/// A limit, or none.
#[derive(Clone, Copy, Debug)]
pub struct Limit(Option<i64>);

fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        number => number.parse().map(|number| Limit(Some(number))).map_err(|_| "give a number or `none`".to_owned()),
    }
}

impl QuotaCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let quotas = client.quotas();
        match self {
            Self::List => screen.list(&quotas.list().send().await?),
            Self::Get { name } => screen.item(&quotas.get(name).send().await?),
            Self::Set { name, limit, guard } => {
                let mut request = quotas.set_limit(name, limit.0);
                set!(request.etag(guard.etag));
                screen.item(&request.send().await?)
            }
            Self::Reservations(listing) => listing.show(quotas.reservations(), screen).await,
            Self::Recount { name } => {
                let recount = quotas.recount(name).send().await?;
                screen.item(&recount)?;
                match recount.difference {
                    0 => Ok(()),
                    off => Err(Failure::Found(format!("the counter was off by {off} and is mended; report this fault"))),
                }
            }
        }
    }
}
