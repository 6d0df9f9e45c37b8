//! `freehold tenant`

use clap::{ArgGroup, Subcommand};
use freehold::Client;

use super::{Guard, LabelChanges, Labels, Listing, relabel, set};
use crate::{failure::Failure, screen::Screen};

/// What can be done with tenants.
#[derive(Subcommand, Clone, Debug)]
pub enum TenantCommand {
    /// Creates a tenant with the default quotas
    Create {
        /// Its name: acme
        name: String,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// How much of the runners it gets, compared with other tenants: 1 to 100
        #[arg(long, value_name = "N")]
        queue_weight: Option<i32>,
        #[command(flatten)]
        labels: Labels,
    },
    /// Shows one tenant
    Get {
        /// Its name
        name: String,
    },
    /// Lists tenants
    List(Listing),
    /// Changes what is given
    #[command(group = ArgGroup::new("change").required(true).multiple(true).args(["display_name", "queue_weight", "labels", "remove_label", "clear_labels"]))]
    Update {
        /// Its name
        name: String,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// How much of the runners it gets, compared with other tenants: 1 to 100; for platform administrators
        #[arg(long, value_name = "N")]
        queue_weight: Option<i32>,
        #[command(flatten)]
        labels: LabelChanges,
        #[command(flatten)]
        guard: Guard,
    },
    /// Stops new writes and runs of a tenant; reads stay open
    Suspend {
        /// Its name
        name: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Lets a suspended tenant go on
    Resume {
        /// Its name
        name: String,
    },
    /// Deletes a tenant; it is kept for 30 days
    Delete {
        /// Its name
        name: String,
        /// Even with deployments in it; they are forgotten, not destroyed
        #[arg(long)]
        force: bool,
        /// Does not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        guard: Guard,
    },
}

impl TenantCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let tenants = client.tenants();
        match self {
            Self::Create { name, display_name, queue_weight, labels } => {
                let mut request = tenants.create(name);
                set!(request.display_name(display_name));
                set!(request.queue_weight(queue_weight));
                for (key, value) in labels.labels {
                    request = request.label(key, value);
                }
                screen.item(&request.send().await?)
            }
            Self::Get { name } => screen.item(&tenants.get(name).send().await?),
            Self::List(listing) => listing.show(tenants.list(), screen).await,
            Self::Update { name, display_name, queue_weight, labels, mut guard } => {
                let mut request = tenants.update(&name);
                set!(request.display_name(display_name));
                set!(request.queue_weight(queue_weight));
                relabel!(request, labels, guard, tenants.get(&name));
                set!(request.etag(guard.etag));
                screen.item(&request.send().await?)
            }
            Self::Suspend { name, reason } => screen.item(&tenants.suspend(name, reason).send().await?),
            Self::Resume { name } => screen.item(&tenants.resume(name).send().await?),
            Self::Delete { name, force, yes, guard } => {
                screen.confirm(yes, &format!("Delete the tenant {name} with all that is in it?")).await?;
                let mut request = tenants.delete(name);
                set!(request.force() if force);
                set!(request.etag(guard.etag));
                screen.item(&request.send().await?)
            }
        }
    }
}
