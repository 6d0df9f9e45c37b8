//! `freehold service-account`

use clap::Subcommand;
use freehold::Client;

use super::{Guard, Labels, Listing, set};
use crate::{failure::Failure, screen::Screen};

/// What can be done with service accounts.
#[derive(Subcommand, Clone, Debug)]
pub enum ServiceAccountCommand {
    /// Creates a service account
    Create {
        /// Its name: ci
        name: String,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        #[command(flatten)]
        labels: Labels,
    },
    /// Shows one service account
    Get {
        /// Its name
        name: String,
    },
    /// Lists service accounts
    List(Listing),
    /// Deletes a service account with its bindings, keys and identities
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        guard: Guard,
    },
    /// Certificate identities that it answers to
    #[command(subcommand)]
    Identity(IdentityCommand),
}

/// What can be done with certificate identities.
#[derive(Subcommand, Clone, Debug)]
pub enum IdentityCommand {
    /// Lets a certificate identity act as the service account
    Add {
        /// The service account: ci
        account: String,
        /// URI of the certificate: spiffe://trust-domain/path
        spiffe_id: String,
    },
    /// Lists the identities of a service account
    List {
        /// The service account: ci
        account: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Ends what an identity may do
    Remove {
        /// Its name, as the list shows it
        name: String,
    },
}

impl ServiceAccountCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let accounts = client.service_accounts();
        match self {
            Self::Create { name, display_name, labels } => {
                let mut request = accounts.create(name);
                set!(request.display_name(display_name));
                for (key, value) in labels.labels {
                    request = request.label(key, value);
                }
                screen.item(&request.send().await?)
            }
            Self::Get { name } => screen.item(&accounts.get(name).send().await?),
            Self::List(listing) => listing.show(accounts.list(), screen).await,
            Self::Delete { name, guard } => {
                let mut request = accounts.delete(&name);
                set!(request.etag(guard.etag));
                request.send().await?;
                screen.done(&format!("service account {name} is deleted"))
            }
            Self::Identity(IdentityCommand::Add { account, spiffe_id }) => {
                screen.item(&accounts.create_identity(account, spiffe_id).send().await?)
            }
            Self::Identity(IdentityCommand::List { account, listing }) => {
                listing.show(accounts.list_identities(account), screen).await
            }
            Self::Identity(IdentityCommand::Remove { name }) => {
                accounts.delete_identity(&name).send().await?;
                screen.done(&format!("identity {name} is removed"))
            }
        }
    }
}
