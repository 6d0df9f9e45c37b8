//! `freehold environment`

use std::time::Duration;

use clap::{
    ArgGroup, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use freehold::{Client, EnvironmentKind, RunHandle};
use futures::future::try_join_all;

use super::{Guard, LabelChanges, Labels, Listing, Patience, dependencies::lifetime, relabel, set};
use crate::{failure::Failure, follow::attend, screen::Screen, show::short};

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
        /// Runs wait until the deployments that theirs depends on are as they were made
        #[arg(long)]
        require_undrifted_dependencies: bool,
        /// How long a new deployment lives when nobody says, as 12h or 7d
        #[arg(long, value_name = "DURATION", value_parser = lifetime)]
        default_ttl: Option<Duration>,
        /// How long a deployment may live at most
        #[arg(long, value_name = "DURATION", value_parser = lifetime)]
        max_ttl: Option<Duration>,
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
    #[command(group = ArgGroup::new("change").required(true).multiple(true).args(["kind", "display_name", "runner_pool", "allow_self_approval", "require_approval", "require_undrifted_dependencies", "default_ttl", "no_default_ttl", "max_ttl", "no_max_ttl", "approval_policy", "no_approval_policy", "labels", "remove_label", "clear_labels"]))]
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
        /// Whether runs wait until the deployments that theirs depends on are as they were made
        #[arg(long, value_name = "BOOL")]
        require_undrifted_dependencies: Option<bool>,
        /// How long a new deployment lives when nobody says, as 12h or 7d
        #[arg(long, value_name = "DURATION", value_parser = lifetime, conflicts_with = "no_default_ttl")]
        default_ttl: Option<Duration>,
        /// A new deployment lives as long as it may when nobody says
        #[arg(long)]
        no_default_ttl: bool,
        /// How long a deployment may live at most
        #[arg(long, value_name = "DURATION", value_parser = lifetime, conflicts_with = "no_max_ttl")]
        max_ttl: Option<Duration>,
        /// A deployment may live for ever
        #[arg(long)]
        no_max_ttl: bool,
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
    /// Removes what all deployments of an environment have made, in order: what needs others goes before them
    Destroy {
        /// Its name
        name: String,
        /// Does not ask
        #[arg(long, short)]
        yes: bool,
        /// Why, for whoever reads the history
        #[arg(long, short, value_name = "TEXT")]
        message: Option<String>,
        /// Only starts the runs
        #[arg(long, conflicts_with = "timeout")]
        no_wait: bool,
        #[command(flatten)]
        patience: Patience,
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
                require_undrifted_dependencies,
                default_ttl,
                max_ttl,
                approval_policy,
                labels,
            } => {
                let mut request = environments.create(name, kind).require_undrifted_dependencies(require_undrifted_dependencies);
                set!(request.default_ttl(default_ttl));
                set!(request.max_ttl(max_ttl));
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
                require_undrifted_dependencies,
                default_ttl,
                no_default_ttl,
                max_ttl,
                no_max_ttl,
                approval_policy,
                no_approval_policy,
                labels,
                mut guard,
            } => {
                let mut request = environments.update(&name);
                set!(request.require_undrifted_dependencies(require_undrifted_dependencies));
                if no_default_ttl || default_ttl.is_some() {
                    request = request.default_ttl(default_ttl);
                }
                if no_max_ttl || max_ttl.is_some() {
                    request = request.max_ttl(max_ttl);
                }
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
            Self::Destroy { name, yes, message, no_wait, patience } => {
                screen.confirm(yes, &format!("Remove what all deployments of {name} have made?")).await?;
                let mut request = client.runs().destroy_environment(&name).auto_apply();
                set!(request.message(message));
                let runs = request.send().await?;
                let waits = runs.iter().any(|run| run.run().approval_required);
                if no_wait || waits || runs.is_empty() {
                    screen.list(&runs.iter().map(|run| run.run().clone()).collect::<Vec<_>>())?;
                    if waits {
                        screen.note("Each of them needs an approval: freehold run approve RUN");
                    }
                    return Ok(());
                }
                all_ended(runs, patience, screen).await
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

/// Waits for the runs of a removal, and shows how each has ended.
async fn all_ended(runs: Vec<RunHandle>, patience: Patience, screen: &mut Screen) -> Result<(), Failure> {
    screen.note(&format!("{} deployments are removed", runs.len()));
    let first = runs.first().map(|run| run.run().name.clone()).unwrap_or_default();
    let all = async { try_join_all(runs.into_iter().map(RunHandle::wait_done)).await.map_err(Failure::from) };
    let ended: Vec<_> = attend(&first, patience.until(), all).await?.into_iter().map(RunHandle::into_run).collect();
    screen.list(&ended)?;
    match ended.iter().find(|run| run.outcome.is_none_or(|outcome| !outcome.is_good())) {
        Some(run) => Err(Failure::Found(format!("{} has not removed its deployment", short(&run.name)))),
        None => Ok(()),
    }
}
