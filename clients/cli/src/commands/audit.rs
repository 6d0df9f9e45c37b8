//! `freehold audit`

use clap::Subcommand;
use freehold::Client;

use super::Listing;
use crate::{failure::Failure, screen::Screen};

/// What can be done with the audit trail.
#[derive(Subcommand, Clone, Debug)]
pub enum AuditCommand {
    /// Lists what was done in the tenant, newest first
    List {
        /// What was done to the installation instead
        #[arg(long)]
        installation: bool,
        /// Oldest first
        #[arg(long)]
        oldest_first: bool,
        #[command(flatten)]
        listing: Listing,
    },
    /// Shows one record
    Get {
        /// Its full name
        name: String,
    },
}

impl AuditCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let audit = client.audit();
        match self {
            Self::List { installation, oldest_first, listing } => {
                let list = if installation { audit.list_installation() } else { audit.list() };
                listing.show(if oldest_first { list } else { list.newest_first() }, screen).await
            }
            Self::Get { name } => screen.item(&audit.get(name).send().await?),
        }
    }
}
