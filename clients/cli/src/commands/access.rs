//! `freehold role` and `freehold role-binding`

use clap::Subcommand;
use freehold::{Client, Timestamp};

use super::{Listing, set};
use crate::{failure::Failure, screen::Screen};

/// What can be done with roles.
#[derive(Subcommand, Clone, Debug)]
pub enum RoleCommand {
    /// Lists the roles of the installation
    List,
}

/// What can be done with role bindings.
#[derive(Subcommand, Clone, Debug)]
pub enum RoleBindingCommand {
    /// Gives a role to a member
    Create {
        /// The role, as `freehold role list` shows it
        role: String,
        /// Who gets it: users/ada or serviceAccounts/ci
        member: String,
        /// Where: a project, shop, or an environment, shop/dev; the whole tenant if not given
        #[arg(long, value_name = "RESOURCE")]
        on: Option<String>,
        /// When it ends by itself, for example 2027-01-31T18:00:00Z; never if not given
        #[arg(long, value_name = "TIME")]
        expires: Option<Timestamp>,
    },
    /// Lists the bindings of the tenant
    List(Listing),
    /// Takes a role away
    Delete {
        /// Its name, as the list shows it
        name: String,
    },
}

impl RoleCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        match self {
            Self::List => screen.list(&client.access().list_roles().send().await?),
        }
    }
}

impl RoleBindingCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let access = client.access();
        match self {
            Self::Create { role, member, on, expires } => {
                let mut request = access.bind(role, member);
                set!(request.on(on));
                set!(request.expire_time(expires));
                screen.item(&request.send().await?)
            }
            Self::List(listing) => listing.show(access.list_bindings(), screen).await,
            Self::Delete { name } => {
                access.unbind(&name).send().await?;
                screen.done(&format!("role binding {name} is deleted"))
            }
        }
    }
}
