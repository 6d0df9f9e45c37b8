//! `freehold connection` and `freehold connector`

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Subcommand};
use freehold::Client;
use serde_json::{Map, Value};

use super::{Guard, LabelChanges, Labels, Listing, duration, relabel, set};
use crate::{
    failure::Failure,
    input::{self, Inputs, pair},
    screen::Screen,
};

/// What can be done with connectors.
#[derive(Subcommand, Clone, Debug)]
pub enum ConnectorCommand {
    /// Shows what a connection needs, and what can be asked of it
    Get {
        /// Its name: github
        name: String,
    },
    /// Lists the systems that can be talked to
    List,
}

impl ConnectorCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        match self {
            Self::Get { name } => {
                let connector = client.connections().connector(name).send().await?;
                screen.item_with(&connector, "operations", &connector.operations)
            }
            Self::List => screen.list(&client.connections().connectors().send().await?),
        }
    }
}

/// What can be done with connections.
#[derive(Subcommand, Clone, Debug)]
pub enum ConnectionCommand {
    /// Creates a connection
    Create {
        /// Its name: ops
        name: String,
        /// The connector: github, as `freehold connector list` shows them
        connector: String,
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        credentials: Credentials,
        /// Name for people
        #[arg(long)]
        display_name: Option<String>,
        /// Nothing is ever changed over it
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        labels: Labels,
    },
    /// Shows one connection
    Get {
        /// Its name
        name: String,
    },
    /// Lists connections
    List(Listing),
    /// Changes what is given
    #[command(group = ArgGroup::new("change").required(true).multiple(true).args(["one", "file", "display_name", "dry_run", "labels", "remove_label", "clear_labels"]))]
    Update {
        /// Its name
        name: String,
        #[command(flatten)]
        settings: Settings,
        /// Name for people
        #[arg(long)]
        display_name: Option<String>,
        /// Whether nothing is ever changed over it
        #[arg(long)]
        dry_run: Option<bool>,
        #[command(flatten)]
        labels: LabelChanges,
        #[command(flatten)]
        guard: Guard,
    },
    /// Deletes a connection with its credentials and what it received
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        guard: Guard,
    },
    /// Stops its use
    Disable {
        /// Its name
        name: String,
        /// Why, for whoever finds it disabled
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Begins its use again
    Enable {
        /// Its name
        name: String,
    },
    /// Asks the system who we are
    Test {
        /// Its name
        name: String,
    },
    /// Gives it new credentials
    Rotate {
        /// Its name
        name: String,
        #[command(flatten)]
        credentials: Credentials,
        /// How long those before go on to count, where they can: 90s, 10m or 1h; a day unless it is given
        #[arg(long, value_name = "TIME", value_parser = duration)]
        grace: Option<Duration>,
    },
    /// Carries out an operation
    Invoke {
        /// The connection
        name: String,
        /// The operation: issues.create, as `freehold connector get` shows them
        operation: String,
        #[command(flatten)]
        inputs: Inputs,
        /// Changes nothing, and shows what would be sent
        #[arg(long)]
        dry_run: bool,
    },
    /// Links your account of the system to you, by the code that it answered to `link`
    Link {
        /// The connection
        name: String,
        /// File with the code, or - for standard input
        #[arg(long, value_name = "FILE", default_value = "-")]
        code_file: PathBuf,
    },
    /// Lists your accounts of the system, or everybody's to administrators
    Accounts {
        /// The connection
        name: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Has an account of the system act for nobody any more
    Unlink {
        /// The account: ops/UID
        name: String,
    },
    /// Lists what the system called us for
    Messages {
        /// The connection
        name: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Shows what the system called us for, with all that it said
    Message {
        /// The message: ops/UID
        name: String,
    },
}

/// Settings of a connection.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// One setting; the value is JSON if it reads as JSON, else a text. Can be given several times
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = input::input)]
    one: Vec<(String, Value)>,
    /// JSON or YAML file with settings, one object, or - for standard input; --setting goes over it
    #[arg(long = "settings", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Settings {
    fn over(self, base: Map<String, Value>) -> Result<Map<String, Value>, Failure> {
        Inputs { one: self.one, file: self.file }.over(base)
    }

    fn any(&self) -> bool {
        self.file.is_some() || !self.one.is_empty()
    }
}

/// Credentials; never as arguments, which every process of the machine can read.
#[derive(Args, Clone, Debug)]
pub struct Credentials {
    /// A credential from a file, or from standard input for -; a line break at its end is left out. Can be given several times
    #[arg(long = "credential-file", value_name = "SLOT=FILE", value_parser = pair)]
    files: Vec<(String, String)>,
    /// A credential from an environment variable. Can be given several times
    #[arg(long = "credential-env", value_name = "SLOT=NAME", value_parser = pair)]
    variables: Vec<(String, String)>,
}

impl Credentials {
    fn read(self) -> Result<BTreeMap<String, String>, Failure> {
        let mut all = BTreeMap::new();
        for (slot, file) in self.files {
            let text = input::text(&PathBuf::from(file))?;
            all.insert(slot, text.trim_end_matches(['\r', '\n']).to_owned());
        }
        for (slot, name) in self.variables {
            let value = std::env::var(&name);
            all.insert(slot, value.map_err(|_| Failure::usage(format!("there is no environment variable {name}")))?);
        }
        Ok(all)
    }
}

impl ConnectionCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let connections = client.connections();
        match self {
            Self::Create { name, connector, settings, credentials, display_name, dry_run, labels } => {
                let mut request = connections.create(name, connector).settings(settings.over(Map::new())?).dry_run(dry_run);
                set!(request.display_name(display_name));
                for (key, value) in labels.labels {
                    request = request.label(key, value);
                }
                for (slot, secret) in credentials.read()? {
                    request = request.credential(slot, secret);
                }
                screen.item(&request.send().await?)
            }
            Self::Get { name } => screen.item(&connections.get(name).send().await?),
            Self::List(listing) => listing.show(connections.list(), screen).await,
            Self::Update { name, settings, display_name, dry_run, labels, mut guard } => {
                let mut request = connections.update(&name);
                set!(request.display_name(display_name));
                set!(request.dry_run(dry_run));
                relabel!(request, labels, guard, connections.get(&name));
                if settings.any() {
                    let now = connections.get(&name).send().await?;
                    request = request.settings(settings.over(now.settings)?);
                    guard.etag.get_or_insert(now.etag);
                }
                set!(request.etag(guard.etag));
                screen.item(&request.send().await?)
            }
            Self::Delete { name, guard } => {
                let mut request = connections.delete(&name);
                set!(request.etag(guard.etag));
                request.send().await?;
                screen.done(&format!("connection {name} is deleted"))
            }
            Self::Disable { name, reason } => screen.item(&connections.disable(name).reason(reason).send().await?),
            Self::Enable { name } => screen.item(&connections.enable(name).send().await?),
            Self::Test { name } => screen.item(&connections.test(name).send().await?),
            Self::Rotate { name, credentials, grace } => {
                let mut request = connections.rotate(name);
                set!(request.grace_period(grace));
                for (slot, secret) in credentials.read()? {
                    request = request.credential(slot, secret);
                }
                screen.item(&request.send().await?)
            }
            Self::Invoke { name, operation, inputs, dry_run } => {
                let mut request = connections.invoke(name, operation).inputs(inputs.over(Map::new())?);
                set!(request.dry_run() if dry_run);
                match request.send().await {
                    Ok(invoked) => screen.item(&invoked.result),
                    Err(error) => Err(inputs.refused(error)),
                }
            }
            Self::Link { name, code_file } => {
                let code = input::text(&code_file)?;
                screen.item(&connections.link_account(name, code.trim()).send().await?)
            }
            Self::Accounts { name, listing } => listing.show(connections.accounts(name), screen).await,
            Self::Unlink { name } => {
                connections.delete_account(&name).send().await?;
                screen.done(&format!("account {name} is not linked any more"))
            }
            Self::Messages { name, listing } => listing.show(connections.messages(name), screen).await,
            Self::Message { name } => screen.item(&connections.message(name).send().await?),
        }
    }
}
