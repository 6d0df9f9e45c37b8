//! `freehold user`

use clap::Subcommand;
use freehold::Client;

use super::{Guard, Labels, Listing, set};
use crate::{failure::Failure, screen::Screen};

/// What can be done with users.
#[derive(Subcommand, Clone, Debug)]
pub enum UserCommand {
    /// Adds a person to the tenant
    Invite {
        /// Mail address
        email: String,
        /// Last part of the name; made from the mail address if not given
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        /// Name for people
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        #[command(flatten)]
        labels: Labels,
    },
    /// Shows one user
    Get {
        /// Its name: ada
        name: String,
    },
    /// Lists users
    List(Listing),
    /// Ends all access of a user at once; bindings are kept
    Deactivate {
        /// Its name
        name: String,
        #[command(flatten)]
        guard: Guard,
    },
    /// Unbinds a user from the account at the identity provider, so that another one can sign in as this user
    Unlink {
        /// Its name
        name: String,
        #[command(flatten)]
        guard: Guard,
    },
    /// Deletes a user with bindings and keys
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        guard: Guard,
    },
}

impl UserCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let users = client.users();
        match self {
            Self::Invite { email, id, display_name, labels } => {
                let mut request = users.invite(email);
                set!(request.id(id));
                set!(request.display_name(display_name));
                for (key, value) in labels.labels {
                    request = request.label(key, value);
                }
                screen.item(&request.send().await?)
            }
            Self::Get { name } => screen.item(&users.get(name).send().await?),
            Self::List(listing) => listing.show(users.list(), screen).await,
            Self::Deactivate { name, guard } => {
                let mut request = users.deactivate(name);
                set!(request.etag(guard.etag));
                screen.item(&request.send().await?)
            }
            Self::Unlink { name, guard } => {
                let mut request = users.unlink_identity(name);
                set!(request.etag(guard.etag));
                screen.item(&request.send().await?)
            }
            Self::Delete { name, guard } => {
                let mut request = users.delete(&name);
                set!(request.etag(guard.etag));
                request.send().await?;
                screen.done(&format!("user {name} is deleted"))
            }
        }
    }
}
