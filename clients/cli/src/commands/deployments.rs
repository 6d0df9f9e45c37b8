//! `freehold deployment`

use clap::{ArgGroup, Args, Subcommand};
use freehold::{Client, RunHandle};

use super::{
    Guard, LabelChanges, Labels, Listing, Patience,
    dependencies::{Drawing, NewEnd, TieChanges, Ties, show_graph},
    relabel, set,
};
use crate::{
    failure::Failure,
    follow::{decide_and_apply, look, started},
    input::Inputs,
    screen::Screen,
};

/// What can be done with deployments.
#[derive(Subcommand, Clone, Debug)]
pub enum DeploymentCommand {
    /// Creates a deployment; nothing becomes real before an apply
    Create {
        /// Its name: shop/dev/web
        name: String,
        /// The blueprint version: greeting@1.0.0
        #[arg(long, value_name = "VERSION")]
        blueprint: String,
        #[command(flatten)]
        inputs: Inputs,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// Refuses destroy and delete
        #[arg(long)]
        deletion_protection: bool,
        /// Runs apply without an approval where the environment needs none
        #[arg(long)]
        auto_apply: bool,
        #[command(flatten)]
        ties: Ties,
        #[command(flatten)]
        labels: Labels,
    },
    /// Shows one deployment
    Get {
        /// Its name
        name: String,
    },
    /// Lists the deployments of an environment
    List {
        /// The environment: shop/dev
        environment: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Changes what should be; nothing becomes real before an apply. --input changes single inputs, --inputs replaces all
    #[command(group = ArgGroup::new("change").required(true).multiple(true).args([
        "blueprint", "one", "file", "display_name", "deletion_protection", "auto_apply", "depends_on", "no_depends_on",
        "apply_on_dependency_change", "require_undrifted_dependencies", "max_idle", "no_max_idle", "labels", "remove_label",
        "clear_labels",
    ]))]
    Update {
        /// Its name
        name: String,
        /// The blueprint version: greeting@1.1.0
        #[arg(long, value_name = "VERSION")]
        blueprint: Option<String>,
        #[command(flatten)]
        inputs: Inputs,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// Whether destroy and delete are refused
        #[arg(long, value_name = "BOOL")]
        deletion_protection: Option<bool>,
        /// Whether runs apply without an approval where the environment needs none
        #[arg(long, value_name = "BOOL")]
        auto_apply: Option<bool>,
        #[command(flatten)]
        ties: TieChanges,
        #[command(flatten)]
        labels: LabelChanges,
        #[command(flatten)]
        guard: Guard,
    },
    /// Gives a deployment another end
    Extend {
        /// Its name
        name: String,
        #[command(flatten)]
        end: NewEnd,
        #[command(flatten)]
        guard: Guard,
    },
    /// Leaves what a deployment has made to nobody, and lists it
    Abandon {
        /// Its name
        name: String,
        /// Why nobody is to look after it
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Does not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        guard: Guard,
    },
    /// Shows what deployments need of each other
    Graph {
        /// A project or an environment, shop or shop/dev; all of the tenant without it
        scope: Option<String>,
        /// Draws it
        #[arg(long, value_name = "FORMAT")]
        format: Option<Drawing>,
    },
    /// Deletes a deployment that is new, destroyed or abandoned
    Delete {
        /// Its name
        name: String,
        /// Forgets one that is not destroyed; what it made stays and is nobody's
        #[arg(long)]
        force: bool,
        /// Does not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        guard: Guard,
    },
    /// Shows what an apply would change, and changes nothing
    Plan {
        /// Its name
        name: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Plans, shows the plan, asks, and makes it real
    Apply {
        /// Its name
        name: String,
        #[command(flatten)]
        start: Start,
    },
    /// Plans the removal of everything, shows the plan, asks, and removes it
    Destroy {
        /// Its name
        name: String,
        #[command(flatten)]
        start: Start,
    },
    /// Plans an earlier revision, shows the plan, asks, and makes it real again
    Rollback {
        /// Its name
        name: String,
        /// Number of the revision, as `revisions` shows it
        #[arg(long, value_name = "REVISION")]
        to: i64,
        #[command(flatten)]
        start: Start,
    },
    /// Looks whether reality still is as it was made; exit code 1 if it is not
    Drift {
        /// Its name
        name: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Shows the outputs
    Outputs {
        /// Its name
        name: String,
        /// Shows sensitive values; this is audited
        #[arg(long)]
        reveal: bool,
    },
    /// Lists what was made real
    Revisions {
        /// Its name
        name: String,
        #[command(flatten)]
        listing: Listing,
    },
}

/// How a run is started.
#[derive(Args, Clone, Debug)]
pub struct Start {
    /// Does not ask
    #[arg(long, short)]
    yes: bool,
    /// Why, for whoever reads the history
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Only starts the run: it plans, and then waits for `freehold run approve`
    #[arg(long, conflicts_with_all = ["yes", "timeout"])]
    no_wait: bool,
    #[command(flatten)]
    patience: Patience,
}

impl Start {
    /// Before anything is begun: a run that nobody can decide on would only be in the way.
    pub(crate) fn check(&self, screen: &Screen) -> Result<(), Failure> {
        if self.yes || self.no_wait || screen.can_ask() {
            return Ok(());
        }
        Err(Failure::usage(
            "there is no terminal to ask on; add --yes to apply whatever the plan says, or look at it with `plan` first",
        ))
    }

    /// Sees the run through, as far as it is wanted.
    pub(crate) async fn see_through(self, run: RunHandle, screen: &mut Screen) -> Result<(), Failure> {
        if self.no_wait { started(run.run(), screen) } else { decide_and_apply(run, self.yes, self.patience, screen).await }
    }
}

impl DeploymentCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let (deployments, runs, state) = (client.deployments(), client.runs(), client.state());
        match self {
            Self::Create { name, blueprint, inputs, display_name, deletion_protection, auto_apply, ties, labels } => {
                let mut request =
                    deployments.create(name, blueprint).deletion_protection(deletion_protection).auto_apply(auto_apply);
                request = ties.over(request);
                set!(request.display_name(display_name));
                for (key, value) in labels.labels {
                    request = request.label(key, value);
                }
                for (name, value) in inputs.over(serde_json::Map::new())? {
                    request = request.input(name, value);
                }
                screen.item(&request.send().await.map_err(|error| inputs.refused(error))?)
            }
            Self::Get { name } => screen.item(&deployments.get(name).send().await?),
            Self::List { environment, listing } => listing.show(deployments.list(environment), screen).await,
            Self::Update { name, blueprint, inputs, display_name, deletion_protection, auto_apply, ties, labels, mut guard } => {
                let mut request = ties.over(deployments.update(&name));
                set!(request.blueprint_version(blueprint));
                set!(request.display_name(display_name));
                set!(request.deletion_protection(deletion_protection));
                set!(request.auto_apply(auto_apply));
                relabel!(request, labels, guard, deployments.get(&name));
                if inputs.any() {
                    // Single inputs go over those there are, as labels do.
                    let now = deployments.get(&name).send().await?;
                    request = request.inputs(inputs.over(now.inputs)?);
                    guard.etag.get_or_insert(now.etag);
                }
                set!(request.etag(guard.etag));
                screen.item(&request.send().await.map_err(|error| inputs.refused(error))?)
            }
            Self::Extend { name, end, guard } => {
                let mut request = deployments.extend(name);
                set!(request.until(end.until));
                set!(request.ttl(end.ttl));
                set!(request.etag(guard.etag));
                screen.item(&request.send().await?)
            }
            Self::Abandon { name, reason, yes, guard } => {
                screen.confirm(yes, &format!("Leave what {name} has made to nobody?")).await?;
                let mut request = deployments.abandon(&name, reason);
                set!(request.etag(guard.etag));
                let abandoned = request.send().await?;
                let left = abandoned.abandonment.as_ref().map(|left| left.addresses.join("\n")).unwrap_or_default();
                screen.text(&abandoned, || format!("deployment {name} is abandoned; nobody looks after\n{left}\n"))
            }
            Self::Graph { scope, format } => show_graph(client, scope, format, screen).await,
            Self::Delete { name, force, yes, guard } => {
                if force {
                    screen.confirm(yes, &format!("Forget {name}, and leave what it made to nobody?")).await?;
                }
                let mut request = deployments.delete(&name);
                set!(request.force() if force);
                set!(request.etag(guard.etag));
                request.send().await?;
                screen.done(&format!("deployment {name} is deleted"))
            }
            Self::Plan { name, patience } => look(runs.plan(name).speculative().send().await?, patience, screen).await,
            Self::Apply { name, start } => {
                start.check(screen)?;
                let mut request = runs.plan(name);
                set!(request.message(start.message.clone()));
                start.see_through(request.send().await?, screen).await
            }
            Self::Destroy { name, start } => {
                start.check(screen)?;
                let mut request = runs.destroy(name);
                set!(request.message(start.message.clone()));
                start.see_through(request.send().await?, screen).await
            }
            Self::Rollback { name, to, start } => {
                start.check(screen)?;
                let mut request = runs.rollback(name, to);
                set!(request.message(start.message.clone()));
                start.see_through(request.send().await?, screen).await
            }
            Self::Drift { name, patience } => look(runs.detect_drift(name).send().await?, patience, screen).await,
            Self::Outputs { name, reveal } => {
                let mut request = state.outputs(name);
                set!(request.reveal_sensitive() if reveal);
                screen.list(&request.send().await?)
            }
            Self::Revisions { name, listing } => listing.show(deployments.list_revisions(name), screen).await,
        }
    }
}
