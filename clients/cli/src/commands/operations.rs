//! `freehold operation`

use clap::Subcommand;
use freehold::Client;

use super::{Listing, Patience};
use crate::{failure::Failure, follow::in_time, screen::Screen};

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
        #[command(flatten)]
        patience: Patience,
    },
}

impl OperationCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let operations = client.operations();
        match self {
            Self::Get { name } => screen.item(&operations.get(name).send().await?),
            Self::List(listing) => listing.show(operations.list(), screen).await,
            Self::Wait { name, patience } => {
                let late =
                    || Failure::StillGoing(format!("the time is over, and the operation {name} goes on; wait for it again"));
                let operation = in_time(patience.until(), operations.wait_done(&name)).await.ok_or_else(late)??;
                screen.item(&operation)?;
                match operation.error {
                    None => Ok(()),
                    Some(error) => Err(Failure::Found(format!("the operation failed: {} ({})", error.message, error.reason))),
                }
            }
        }
    }
}
