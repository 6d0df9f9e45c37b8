//! `freehold state`

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::{Subcommand, ValueEnum};
use freehold::{Client, GraphFormat};

use super::{Listing, deployments::Start, set};
use crate::{failure::Failure, input::bytes, screen::Screen};

/// What can be done with states.
#[derive(Subcommand, Clone, Debug)]
pub enum StateCommand {
    /// Lists the versions of a state
    Versions {
        /// The deployment: shop/dev/web
        name: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Shows one version, without its content
    Get {
        /// The deployment
        name: String,
        /// Number of the version
        serial: i64,
    },
    /// Downloads a state, with the secrets in it; this is audited
    Pull {
        /// The deployment
        name: String,
        /// Number of the version; the newest if not given
        #[arg(long, value_name = "N")]
        serial: Option<i64>,
        /// The file to write, which nobody else may read; standard output if not given
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Writes a state of Terraform or OpenTofu by hand: of the same lineage, and with a higher serial than the newest
    Push {
        /// The deployment
        name: String,
        /// The file, or - for standard input
        file: PathBuf,
        /// Id of a lock that you hold; if not given, one is taken and let go
        #[arg(long, value_name = "ID")]
        lock: Option<String>,
    },
    /// Takes the hold on a state, to change it by hand; runs wait for its end
    Lock {
        /// The deployment
        name: String,
        /// Id of the lock, of your choice; a new one if not given
        #[arg(long, value_name = "ID")]
        id: Option<String>,
    },
    /// Lets go of a state
    Unlock {
        /// The deployment
        name: String,
        /// Id of the lock
        id: String,
    },
    /// Takes the hold on a state from whoever has it; a run that is changing the deployment is given up as lost
    BreakLock {
        /// The deployment
        name: String,
        /// Why, for whoever reads the history
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Only the lock with this id, and no run
        #[arg(long, value_name = "ID")]
        lock: Option<String>,
        /// Does not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Plans with an earlier version of the state, shows the plan, asks, and writes that version again; nothing real is changed
    Restore {
        /// The deployment
        name: String,
        /// Number of the version
        serial: i64,
        #[command(flatten)]
        start: Start,
    },
    /// Lists what the newest state holds
    Resources {
        /// The deployment
        name: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Draws what was made from what
    Graph {
        /// The deployment
        name: String,
        /// How it is drawn
        #[arg(long, value_name = "FORMAT", default_value = "json")]
        format: Drawing,
    },
}

/// A drawing of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Drawing {
    /// Nodes and edges
    Json,
    /// For Graphviz
    Dot,
    /// For Mermaid
    Mermaid,
}

impl StateCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let state = client.state();
        match self {
            Self::Versions { name, listing } => listing.show(state.list_versions(name), screen).await,
            Self::Get { name, serial } => screen.item(&state.get_version(version(&name, serial)).send().await?),
            Self::Pull { name, serial, to } => {
                let mut request = state.download(&name);
                set!(request.serial(serial));
                let content = request.send().await?.ok_or_else(|| Failure::Found(format!("{name} has no state yet")))?;
                hand_over(&content, to.as_deref(), screen)
            }
            Self::Push { name, file, lock } => {
                let content = bytes(&file)?;
                screen.item(&push(client, &name, content, lock).await?)
            }
            Self::Lock { name, id } => {
                let mut request = state.lock(name);
                set!(request.id(id));
                screen.item(&request.send().await?)
            }
            Self::Unlock { name, id } => {
                state.unlock(&name, id).send().await?;
                screen.done(&format!("the state of {name} is let go"))
            }
            Self::BreakLock { name, reason, lock, yes } => {
                screen.confirm(yes, &format!("Take the state of {name} from whoever holds it?")).await?;
                let mut request = state.break_lock(&name, reason);
                set!(request.only(lock));
                let broken = request.send().await?;
                screen.text(&broken, || match (&broken.lock, &broken.run) {
                    (None, None) => format!("nobody holds the state of {name}\n"),
                    (Some(lock), None) => format!("the lock {} of {} is broken\n", lock.id, lock.principal),
                    (_, Some(run)) => format!("{run} is given up as lost; make sure that its programs have ended\n"),
                })
            }
            Self::Restore { name, serial, start } => {
                start.check(screen)?;
                let mut request = client.runs().restore_state(name, serial);
                set!(request.message(start.message.clone()));
                start.see_through(request.send().await?, screen).await
            }
            Self::Resources { name, listing } => listing.show(state.resources(name), screen).await,
            Self::Graph { name, format } => {
                let format = match format {
                    Drawing::Json => GraphFormat::Json,
                    Drawing::Dot => GraphFormat::Dot,
                    Drawing::Mermaid => GraphFormat::Mermaid,
                };
                let graph = state.graph(name, format).send().await?;
                screen.verbatim(&format!("{}\n", graph.trim_end()))
            }
        }
    }
}

/// Writes a state under the lock with this id, or under one that is held for just so long.
async fn push(client: &Client, name: &str, content: Vec<u8>, lock: Option<String>) -> Result<freehold::StateVersion, Failure> {
    let state = client.state();
    if let Some(lock) = lock {
        return Ok(state.write(name, lock, content).send().await?);
    }
    let lock = state.lock(name).send().await?.id;
    let written = state.write(name, &lock, content).send().await;
    let let_go = state.unlock(name, &lock).send().await;
    let written = written?;
    let_go?;
    Ok(written)
}

/// Name of a version.
fn version(name: &str, serial: i64) -> String {
    let collection = if name.starts_with("tenants/") { "stateVersions/" } else { "" };
    format!("{name}/{collection}{serial}")
}

/// Gives a state to whoever asked for it: in this file, or on standard output.
pub(crate) fn hand_over(content: &[u8], to: Option<&Path>, screen: &mut Screen) -> Result<(), Failure> {
    match to {
        Some(file) => {
            write(file, content).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
            screen.done(&format!("{} has the state; it holds secrets", file.display()))
        }
        None => screen.verbatim(&String::from_utf8_lossy(content)),
    }
}

/// Writes a file with secrets: a new one, or one that is there already with the rights it has.
fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)
}
