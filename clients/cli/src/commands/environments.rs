//! `freehold environment`

use clap::{
    ArgGroup, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use freehold::{Client, EnvironmentKind};

use super::{Guard, LabelChanges, Labels, Listing, relabel, set};
use crate::{failure::Failure, screen::Screen};

/// What can be done with environments.
#[derive(Subcommand, Clone, Debug)]
pub enum EnvironmentCommand {
    /// Creates an environment
    Create {
        /// Its name: shop/dev
        name: String,
        /// What it is for; prod needs an approval for every apply
        #[arg(long, value_name = "KIND", value_parser = kinds())]
        kind: EnvironmentKind,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// Runner pool that works for it
        #[arg(long, value_name = "POOL")]
        runner_pool: Option<String>,
        /// The author of a run may approve it
        #[arg(long)]
        allow_self_approval: bool,
        /// Every apply needs an approval, also outside prod
        #[arg(long)]
        require_approval: bool,
        /// Approval policy that says whose approvals plans need; the project's if not given
        #[arg(long, value_name = "POLICY")]
        approval_policy: Option<String>,
        #[command(flatten)]
        labels: Labels,
    },
    /// Shows one environment
    Get {
        /// Its name
        name: String,
    },
    /// Lists the environments of a project
    List {
        /// The project: shop
        project: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Changes what is given
    #[command(group = ArgGroup::new("change").required(true).multiple(true).args(["kind", "display_name", "runner_pool", "allow_self_approval", "require_approval", "approval_policy", "no_approval_policy", "labels", "remove_label", "clear_labels"]))]
    Update {
        /// Its name
        name: String,
        /// What it is for
        #[arg(long, value_name = "KIND", value_parser = kinds())]
        kind: Option<EnvironmentKind>,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// Runner pool that works for it
        #[arg(long, value_name = "POOL")]
        runner_pool: Option<String>,
        /// Whether the author of a run may approve it
        #[arg(long, value_name = "BOOL")]
        allow_self_approval: Option<bool>,
        /// Whether every apply needs an approval, also outside prod
        #[arg(long, value_name = "BOOL")]
        require_approval: Option<bool>,
        /// Approval policy that says whose approvals plans need
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
    /// Deletes an environment without deployments
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        guard: Guard,
    },
}

/// Reads a kind, and names them all to whoever knows another one.
fn kinds() -> impl TypedValueParser<Value = EnvironmentKind> {
    PossibleValuesParser::new(["dev", "test", "staging", "prod"]).try_map(|kind| kind.parse::<EnvironmentKind>())
}

impl EnvironmentCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let environments = client.environments();
        match self {
            Self::Create {
                name,
                kind,
                display_name,
                runner_pool,
                allow_self_approval,
                require_approval,
                approval_policy,
                labels,
            } => {
                let mut request = environments.create(name, kind);
                set!(request.display_name(display_name));
                set!(request.runner_pool(runner_pool));
                request = request.allow_self_approval(allow_self_approval).require_approval(require_approval);
                set!(request.approval_policy(approval_policy));
                for (key, value) in labels.labels {
                    request = request.label(key, value);
                }
                screen.item(&request.send().await?)
            }
            Self::Get { name } => screen.item(&environments.get(name).send().await?),
            Self::List { project, listing } => listing.show(environments.list(project), screen).await,
            Self::Update {
                name,
                kind,
                display_name,
                runner_pool,
                allow_self_approval,
                require_approval,
                approval_policy,
                no_approval_policy,
                labels,
                mut guard,
            } => {
                let mut request = environments.update(&name);
                set!(request.kind(kind));
                set!(request.display_name(display_name));
                set!(request.runner_pool(runner_pool));
                set!(request.allow_self_approval(allow_self_approval));
                set!(request.require_approval(require_approval));
                set!(request.approval_policy(approval_policy));
                set!(request.no_approval_policy() if no_approval_policy);
                relabel!(request, labels, guard, environments.get(&name));
                set!(request.etag(guard.etag));
                screen.item(&request.send().await?)
            }
            Self::Delete { name, guard } => {
                let mut request = environments.delete(&name);
                set!(request.etag(guard.etag));
                request.send().await?;
                screen.done(&format!("environment {name} is deleted"))
            }
        }
    }
}
