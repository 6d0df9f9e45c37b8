//! One file for each noun; each verb is one call of the SDK and one way to show its answer.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use freehold::{Client, List};
use tokio::time::Instant;

use crate::{Command, failure::Failure, input::pair, screen::Screen, show::Show};

pub(crate) mod access;
pub(crate) mod api_keys;
pub(crate) mod approval_policies;
pub(crate) mod audit;
pub(crate) mod blueprints;
pub(crate) mod connections;
pub(crate) mod dependencies;
pub(crate) mod deployments;
pub(crate) mod drift;
pub(crate) mod environments;
pub(crate) mod events;
pub(crate) mod import;
pub(crate) mod notification_rules;
pub(crate) mod operations;
pub(crate) mod projects;
pub(crate) mod quotas;
pub(crate) mod receipts;
pub(crate) mod runner_pools;
pub(crate) mod runs;
pub(crate) mod secret_stores;
pub(crate) mod service_accounts;
pub(crate) mod state;
pub(crate) mod tenants;
pub(crate) mod users;
pub(crate) mod webhook_endpoints;

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
        Command::Drift(command) => command.run(client, screen).await,
        Command::State(command) => command.run(client, screen).await,
        Command::Import(command) => command.run(client, screen).await,
        Command::Run(command) => command.run(client, screen).await,
        Command::ApprovalPolicy(command) => command.run(client, screen).await,
        Command::SecretStore(command) => command.run(client, screen).await,
        Command::Connection(command) => command.run(client, screen).await,
        Command::Connector(command) => command.run(client, screen).await,
        Command::Receipt(command) => command.run(client, screen).await,
        Command::RunnerPool(command) => command.run(client, screen).await,
        Command::Webhook(command) => command.run(client, screen).await,
        Command::Event(command) => command.run(client, screen).await,
        Command::NotificationRule(command) => command.run(client, screen).await,
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

/// Changes of the labels of a resource.
#[derive(Args, Clone, Debug)]
pub struct LabelChanges {
    /// Sets a label and leaves the others; can be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Removes a label; can be given several times
    #[arg(long, value_name = "KEY")]
    remove_label: Vec<String>,
    /// Removes all labels but those given with --label
    #[arg(long)]
    clear_labels: bool,
}

impl LabelChanges {
    /// There are some.
    pub(crate) fn any(&self) -> bool {
        self.clear_labels || !self.labels.is_empty() || !self.remove_label.is_empty()
    }

    /// The labels there are, changed.
    pub(crate) fn over(self, mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
        if self.clear_labels {
            labels.clear();
        }
        labels.retain(|key, _| !self.remove_label.contains(key));
        labels.extend(self.labels);
        labels
    }
}

/// How long a command waits.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Patience {
    /// Waits no longer than this, such as 90s or 10m; what it waits for goes on, and the exit code is 9
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
}

impl Patience {
    /// When to give up.
    pub(crate) fn until(self) -> Option<Instant> {
        Instant::now().checked_add(self.timeout?)
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let read = match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => text.parse::<jiff::SignedDuration>().ok().and_then(|duration| duration.try_into().ok()),
    };
    read.filter(|duration| !duration.is_zero()).ok_or_else(|| "write it as 90s, 10m or 1h".to_owned())
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

/// Passes changed labels to a builder. They go over those there are; the etag sees to it that they still are when they are written.
macro_rules! relabel {
    ($builder:ident, $labels:ident, $guard:ident, $get:expr) => {
        if $labels.any() {
            let now = $get.send().await?;
            $builder = $builder.labels($labels.over(now.labels));
            $guard.etag.get_or_insert(now.etag);
        }
    };
}
pub(crate) use relabel;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_people_write_it() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "-5s", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
