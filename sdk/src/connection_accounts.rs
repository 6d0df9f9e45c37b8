//! Who people of other systems are here.

use freehold_proto::integrations::v1 as pb;
use jiff::Timestamp;

use crate::{
    call::{Call, options, request},
    channel::new_id,
    connections::Connections,
    list::{List, list},
    names::Kind,
    wire::resource,
};

resource! {
    /// An account of another system that acts as a user here.
    ConnectionAccount = pb::ConnectionAccount {
        /// Resource name: `tenants/{tenant}/connections/{connection}/accounts/{account}`.
        name: String,
        /// UUIDv7.
        uid: String,
        /// What the other system knows it by.
        external_id: String,
        /// What people called it over there when it was linked.
        display_name: String,
        /// The user that it acts as.
        principal: String,
        /// When it was linked.
        create_time: Option<Timestamp>,
    }
}

impl Connections {
    /// Redeems a code that another system answered to `link`: the account that it was given to acts as the caller from now on.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found) when the code is unknown, used or over,
    /// [`is_already_exists`](crate::Error::is_already_exists) when the account is linked to somebody else,
    /// [`is_failed_precondition`](crate::Error::is_failed_precondition) when the caller is no user of the tenant.
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(ada: freehold::Client) -> freehold::Result<()> {
    /// let code = std::io::read_to_string(std::io::stdin()).expect("a code");
    /// let account = ada.connections().link_account("chat", code).send().await?;
    /// println!("{} acts as {}", account.display_name, account.principal);
    /// # Ok(()) }
    /// ```
    pub fn link_account(&self, connection: impl AsRef<str>, code: impl Into<String>) -> LinkAccount {
        let request = pb::LinkAccountRequest { code: code.into(), request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        LinkAccount { call: call.name(Kind::Connection, connection.as_ref(), |request, parent| request.parent = parent) }
    }

    /// Lists the caller's accounts of a connection, oldest first; all of them to administrators of the tenant.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn accounts(&self, connection: impl AsRef<str>) -> List<ConnectionAccount> {
        let call = Call::new(&self.core, pb::ListConnectionAccountsRequest::default());
        let call = call.name(Kind::Connection, connection.as_ref(), |request, parent| request.parent = parent);
        list!(
            call,
            "/freehold.integrations.v1.ConnectionAccountService/ListConnectionAccounts",
            pb::ListConnectionAccountsResponse { connection_accounts }
        )
    }

    /// Deletes one of the caller's accounts, or any as an administrator of the tenant. It acts for nobody from then on.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), also for those of others.
    pub fn delete_account(&self, name: impl AsRef<str>) -> DeleteConnectionAccount {
        let request = pb::DeleteConnectionAccountRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        DeleteConnectionAccount { call: call.name(Kind::ConnectionAccount, name.as_ref(), |request, name| request.name = name) }
    }
}

request! {
    /// A code to redeem; see [`Connections::link_account`].
    LinkAccount(pb::LinkAccountRequest) -> ConnectionAccount =
        "/freehold.integrations.v1.ConnectionAccountService/LinkAccount", pb::LinkAccountResponse { connection_account }
}
options!(LinkAccount: request_id);

request! {
    /// An account to delete; see [`Connections::delete_account`].
    DeleteConnectionAccount(pb::DeleteConnectionAccountRequest) -> () =
        "/freehold.integrations.v1.ConnectionAccountService/DeleteConnectionAccount", pb::DeleteConnectionAccountResponse {}
}
options!(DeleteConnectionAccount: request_id, allow_missing);
