//! One file for each noun; each verb is one call of the SDK and one way to show its answer.

use clap::Args;
use freehold::{Client, List};

use crate::{Command, failure::Failure, input::pair, screen::Screen, show::Show};

pub(crate) mod access;
pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod blueprints;
pub(crate) mod deployments;
pub(crate) mod environments;
pub(crate) mod operations;
pub(crate) mod projects;
pub(crate) mod quotas;
pub(crate) mod runner_pools;
pub(crate) mod runs;
pub(crate) mod service_accounts;
pub(crate) mod tenants;
pub(crate) mod users;

pub(crate) async fn run(command: Command, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
    match command {
        Command::Tenant(command) => command.run(client, screen).await,
        Command::Project(command) => command.run(client, screen).await,
        Command::Environment(command) => command.run(client, screen).await,
        Command::Quota(command) => command.run(client, screen).await,
        Command::User(command) => command.run(client, screen).await,
        Command::ServiceAccount(command) => command.run(client, screen).await,
        Command::ApiKey(command) => command.run(client, screen).await,
        Command::Role(command) => command.run(client, screen).await,
        Command::RoleBinding(command) => command.run(client, screen).await,
        Command::Blueprint(command) => command.run(client, screen).await,
        Command::Deployment(command) => command.run(client, screen).await,
        Command::Run(command) => command.run(client, screen).await,
        Command::RunnerPool(command) => command.run(client, screen).await,
        Command::Audit(command) => command.run(client, screen).await,
        Command::Operation(command) => command.run(client, screen).await,
        Command::Whoami => screen.item(&client.whoami().send().await?),
        Command::Completions { .. } => Err(Failure::usage("completions are written without a server")),
    }
}

/// How much of a list.
#[derive(Args, Clone, Debug)]
pub struct Listing {
    /// Most items shown
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
}

impl Listing {
    /// Fetches and shows a list, and says so when there is more.
    pub(crate) async fn show<T: Show + Send + 'static>(&self, list: List<T>, screen: &mut Screen) -> Result<(), Failure> {
        let page = u16::try_from(self.limit + 1).unwrap_or(500).min(500);
        let mut items = list.page_size(page).collect_up_to(self.limit + 1).await?;
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        screen.list(&items)?;
        if more {
            screen.note(&format!("There are more than {}; --limit shows more of them.", self.limit));
        }
        Ok(())
    }
}

/// Labels of a resource.
#[derive(Args, Clone, Debug)]
pub struct Labels {
    /// A label; can be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
}

/// Guards a change.
#[derive(Args, Clone, Debug)]
pub struct Guard {
    /// Changes it only if it still has this etag
    #[arg(long, value_name = "ETAG")]
    etag: Option<String>,
}

/// Passes an option that was given to a setter of a builder.
macro_rules! set {
    ($builder:ident . $setter:ident ($value:expr)) => {
        if let Some(value) = $value {
            $builder = $builder.$setter(value);
        }
    };
    ($builder:ident . $setter:ident () if $flag:expr) => {
        if $flag {
            $builder = $builder.$setter();
        }
    };
}
pub(crate) use set;
