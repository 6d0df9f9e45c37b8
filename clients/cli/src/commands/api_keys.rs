//! `freehold api-key`

use std::time::Duration;

use clap::Subcommand;
use freehold::{Client, Timestamp};
use serde_json::json;

use super::{Listing, set};
use crate::{failure::Failure, screen::Screen};

/// What can be done with API keys.
#[derive(Subcommand, Clone, Debug)]
pub enum ApiKeyCommand {
    /// Creates a key and shows its secret, this once
    Create {
        /// Whom it stands for: users/ada or serviceAccounts/ci
        principal: String,
        /// Days until it ends, 400 at most
        #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=400))]
        days: u16,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
    },
    /// Lists keys, never their secrets
    List(Listing),
    /// Ends a key
    Revoke {
        /// Its name, as the list shows it
        name: String,
    },
}

impl ApiKeyCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let keys = client.api_keys();
        match self {
            Self::Create { principal, days, display_name } => {
                let life = Duration::from_secs(u64::from(days) * 86_400);
                let mut request = keys.create(principal, Timestamp::now() + life);
                set!(request.display_name(display_name));
                let new = request.send().await?;
                screen.item(&json!({"api_key": new.api_key, "secret": new.secret.reveal()}))?;
                screen.note("Keep the secret now: it cannot be shown again.");
                Ok(())
            }
            Self::List(listing) => listing.show(keys.list(), screen).await,
            Self::Revoke { name } => screen.item(&keys.revoke(name).send().await?),
        }
    }
}
