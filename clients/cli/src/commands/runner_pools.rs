//! `freehold runner-pool`

use std::time::Duration;

use clap::Subcommand;
use freehold::{Client, SandboxLevel, Timestamp};
use serde_json::json;

use super::{Guard, LabelChanges, Labels, Listing, relabel, set};
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
        /// Gives work to runners only that isolate the programs of engines
        #[arg(long)]
        isolated: bool,
    },
    /// Changes a runner pool: only what is given is written
    Update {
        /// Its name
        name: String,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// Gives work to runners only that isolate the programs of engines, or to all of them
        #[arg(long, value_name = "BOOL")]
        isolated: Option<bool>,
        #[command(flatten)]
        labels: LabelChanges,
        #[command(flatten)]
        guard: Guard,
    },
    /// Creates a token by which one runner can join the pool, and shows its secret, this once
    Token {
        /// The pool
        #[arg(default_value = "default")]
        pool: String,
        /// Hours until it ends, 720 at most
        #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=720))]
        hours: u16,
    },
    /// Lists the registration tokens of a pool, never their secrets
    Tokens {
        /// The pool
        #[arg(default_value = "default")]
        pool: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Ends a registration token
    RevokeToken {
        /// Its name, as the list shows it
        name: String,
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
    /// Removes a runner for good: its certificate is refused from now on, and no other gets its name
    DeleteRunner {
        /// Its name: default/RUNNER
        name: String,
    },
}

impl RunnerPoolCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let pools = client.runner_pools();
        match self {
            Self::Create { name, display_name, labels, isolated } => {
                let mut request = pools.create(name);
                if isolated {
                    request = request.required_sandbox(SandboxLevel::Isolated);
                }
                set!(request.display_name(display_name));
                for (key, value) in labels.labels {
                    request = request.label(key, value);
                }
                screen.item(&request.send().await?)
            }
            Self::Update { name, display_name, isolated, labels, mut guard } => {
                let mut request = pools.update(&name);
                set!(request.display_name(display_name));
                set!(request.required_sandbox(isolated.map(|isolated| isolated.then_some(SandboxLevel::Isolated))));
                relabel!(request, labels, guard, pools.get(&name));
                set!(request.etag(guard.etag));
                screen.item(&request.send().await?)
            }
            Self::Token { pool, hours } => {
                let life = Duration::from_secs(u64::from(hours) * 3600);
                let new = pools.create_token(pool, Timestamp::now() + life).send().await?;
                screen.item(&json!({"registration_token": new.registration_token, "secret": new.secret.reveal()}))?;
                screen.note("Keep the secret now, in a file for `freehold runner --token-file`: it cannot be shown again.");
                Ok(())
            }
            Self::Tokens { pool, listing } => listing.show(pools.list_tokens(pool), screen).await,
            Self::RevokeToken { name } => screen.item(&pools.revoke_token(name).send().await?),
            Self::DeleteRunner { name } => {
                pools.delete_runner(&name).send().await?;
                screen.done(&format!("runner {name} is removed"))
            }
            Self::Get { name } => screen.item(&pools.get(name).send().await?),
            Self::List(listing) => listing.show(pools.list(), screen).await,
            Self::Runners { pool, listing } => listing.show(pools.list_runners(pool), screen).await,
            Self::Drain { name } => screen.item(&pools.drain_runner(name).send().await?),
            Self::Resume { name } => screen.item(&pools.resume_runner(name).send().await?),
        }
    }
}
