//! `freehold runner-pool`

use clap::Subcommand;
use freehold::Client;

use super::{Labels, Listing, set};
use crate::{failure::Failure, screen::Screen};

/// What can be done with runner pools.
#[derive(Subcommand, Clone, Debug)]
pub enum RunnerPoolCommand {
    /// Creates a runner pool
    Create {
        /// Its name: default
        name: String,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        #[command(flatten)]
        labels: Labels,
    },
    /// Shows one runner pool
    Get {
        /// Its name
        name: String,
    },
    /// Lists runner pools
    List(Listing),
    /// Lists the runners of a pool
    Runners {
        /// The pool
        #[arg(default_value = "default")]
        pool: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Lets a runner finish what it has and take no more, also after a restart, until `resume`
    Drain {
        /// Its name: default/RUNNER
        name: String,
    },
    /// Lets a runner that was told to drain take work again, once it runs
    Resume {
        /// Its name: default/RUNNER
        name: String,
    },
}

impl RunnerPoolCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let pools = client.runner_pools();
        match self {
            Self::Create { name, display_name, labels } => {
                let mut request = pools.create(name);
                set!(request.display_name(display_name));
                for (key, value) in labels.labels {
                    request = request.label(key, value);
                }
                screen.item(&request.send().await?)
            }
            Self::Get { name } => screen.item(&pools.get(name).send().await?),
            Self::List(listing) => listing.show(pools.list(), screen).await,
            Self::Runners { pool, listing } => listing.show(pools.list_runners(pool), screen).await,
            Self::Drain { name } => screen.item(&pools.drain_runner(name).send().await?),
            Self::Resume { name } => screen.item(&pools.resume_runner(name).send().await?),
        }
    }
}
