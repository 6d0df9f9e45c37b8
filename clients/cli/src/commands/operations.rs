//! `freehold operation`

use clap::Subcommand;
use freehold::Client;

use super::Listing;
use crate::{failure::Failure, screen::Screen};

/// What can be done with operations.
#[derive(Subcommand, Clone, Debug)]
pub enum OperationCommand {
    /// Shows one operation
    Get {
        /// Its name
        name: String,
    },
    /// Lists operations
    List(Listing),
    /// Waits until an operation has ended; exit code 1 if it failed
    Wait {
        /// Its name
        name: String,
    },
}

impl OperationCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let operations = client.operations();
        match self {
            Self::Get { name } => screen.item(&operations.get(name).send().await?),
            Self::List(listing) => listing.show(operations.list(), screen).await,
            Self::Wait { name } => {
                let operation = operations.wait_done(name).await?;
                screen.item(&operation)?;
                match operation.error {
                    None => Ok(()),
                    Some(error) => Err(Failure::Found(format!("the operation failed: {} ({})", error.message, error.reason))),
                }
            }
        }
    }
}
