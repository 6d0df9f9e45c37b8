//! `freehold secret-store`

use clap::{Args, Subcommand};
use freehold::{Client, SecretDriver};

use super::{Guard, LabelChanges, Labels, Listing, relabel, set};
use crate::{failure::Failure, screen::Screen};

/// What can be done with stores of secrets.
#[derive(Subcommand, Clone, Debug)]
pub enum SecretStoreCommand {
    /// Creates a store; which stores a runner goes to, and as whom, its own configuration says
    Create {
        /// Its name: vault
        name: String,
        #[command(flatten)]
        driver: Driver,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        labels: Labels,
    },
    /// Shows one store
    Get {
        /// Its name
        name: String,
    },
    /// Lists stores
    List(Listing),
    /// Changes what is given; plans that were made keep the store as it was
    Update {
        /// Its name
        name: String,
        #[command(flatten)]
        driver: Driver,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        labels: LabelChanges,
        #[command(flatten)]
        guard: Guard,
    },
    /// Deletes a store; deployments whose inputs name secrets in it cannot be planned from then on
    Delete {
        /// Its name
        name: String,
        /// Succeeds when there is none
        #[arg(long)]
        allow_missing: bool,
        #[command(flatten)]
        guard: Guard,
    },
}

/// How secrets are read, and where: one of --vault, --environment and --directory.
#[derive(Args, Clone, Debug)]
pub struct Driver {
    /// A key-value engine of Vault or OpenBao: https://HOST:PORT
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["environment", "directory"])]
    vault: Option<String>,
    /// Where the engine is mounted
    #[arg(long, value_name = "PATH", requires = "vault", default_value = "secret")]
    mount: String,
    /// Its namespace
    #[arg(long, value_name = "NAMESPACE", requires = "vault", default_value = "", hide_default_value = true)]
    namespace: String,
    /// Version of the engine
    #[arg(long, value_name = "1|2", requires = "vault", default_value_t = 2)]
    kv_version: i32,
    /// Variables of the runner's environment whose names begin so: ACME_
    #[arg(long, value_name = "PREFIX", conflicts_with = "directory")]
    environment: Option<String>,
    /// Files of a folder on the runner's machine, as /run/secrets/acme
    #[arg(long, value_name = "DIR")]
    directory: Option<String>,
}

impl Driver {
    fn read(self) -> Option<SecretDriver> {
        let Self { vault, mount, namespace, kv_version, environment, directory } = self;
        vault
            .map(|address| SecretDriver::Vault { address, namespace, mount, kv_version })
            .or(environment.map(SecretDriver::environment))
            .or(directory.map(SecretDriver::directory))
    }
}

impl SecretStoreCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let stores = client.secret_stores();
        match self {
            Self::Create { name, driver, display_name, description, labels } => {
                let driver = driver.read().ok_or_else(|| {
                    Failure::usage("say where the secrets are: --vault ADDRESS, --environment PREFIX or --directory DIR")
                })?;
                let mut request = stores.create(name, driver);
                set!(request.display_name(display_name));
                set!(request.description(description));
                request = labels.labels.into_iter().fold(request, |request, (key, value)| request.label(key, value));
                screen.item(&request.send().await?)
            }
            Self::Get { name } => screen.item(&stores.get(name).send().await?),
            Self::List(listing) => listing.show(stores.list(), screen).await,
            Self::Update { name, driver, display_name, description, labels, mut guard } => {
                let mut request = stores.update(&name);
                set!(request.driver(driver.read()));
                set!(request.display_name(display_name));
                set!(request.description(description));
                relabel!(request, labels, guard, stores.get(&name));
                set!(request.etag(guard.etag));
                screen.item(&request.send().await?)
            }
            Self::Delete { name, allow_missing, guard } => {
                let mut request = stores.delete(&name);
                set!(request.allow_missing() if allow_missing);
                set!(request.etag(guard.etag));
                request.send().await?;
                screen.done(&format!("secret store {name} is deleted"))
            }
        }
    }
}
