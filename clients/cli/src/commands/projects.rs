//! `freehold project`

use clap::{ArgGroup, Subcommand};
use freehold::Client;

use super::{Guard, LabelChanges, Labels, Listing, relabel, set};
use crate::{failure::Failure, screen::Screen};

/// What can be done with projects.
#[derive(Subcommand, Clone, Debug)]
pub enum ProjectCommand {
    /// Creates a project
    Create {
        /// Its name: shop
        name: String,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Approval policy of environments that name none
        #[arg(long, value_name = "POLICY")]
        approval_policy: Option<String>,
        #[command(flatten)]
        labels: Labels,
    },
    /// Shows one project
    Get {
        /// Its name
        name: String,
    },
    /// Lists projects
    List(Listing),
    /// Changes what is given
    #[command(group = ArgGroup::new("change").required(true).multiple(true).args(["display_name", "description", "approval_policy", "no_approval_policy", "labels", "remove_label", "clear_labels"]))]
    Update {
        /// Its name
        name: String,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Approval policy of environments that name none
        #[arg(long, value_name = "POLICY")]
        approval_policy: Option<String>,
        /// Names no approval policy any more
        #[arg(long, conflicts_with = "approval_policy")]
        no_approval_policy: bool,
        #[command(flatten)]
        labels: LabelChanges,
        #[command(flatten)]
        guard: Guard,
    },
    /// Deletes a project without environments
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        guard: Guard,
    },
}

impl ProjectCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let projects = client.projects();
        match self {
            Self::Create { name, display_name, description, approval_policy, labels } => {
                let mut request = projects.create(name);
                set!(request.display_name(display_name));
                set!(request.description(description));
                set!(request.approval_policy(approval_policy));
                for (key, value) in labels.labels {
                    request = request.label(key, value);
                }
                screen.item(&request.send().await?)
            }
            Self::Get { name } => screen.item(&projects.get(name).send().await?),
            Self::List(listing) => listing.show(projects.list(), screen).await,
            Self::Update { name, display_name, description, approval_policy, no_approval_policy, labels, mut guard } => {
                let mut request = projects.update(&name);
                set!(request.display_name(display_name));
                set!(request.description(description));
                set!(request.approval_policy(approval_policy));
                set!(request.no_approval_policy() if no_approval_policy);
                relabel!(request, labels, guard, projects.get(&name));
                set!(request.etag(guard.etag));
                screen.item(&request.send().await?)
            }
            Self::Delete { name, guard } => {
                let mut request = projects.delete(&name);
                set!(request.etag(guard.etag));
                request.send().await?;
                screen.done(&format!("project {name} is deleted"))
            }
        }
    }
}
