//! Users: the people of a tenant.

use std::collections::BTreeMap;

use freehold_proto::iam::v1 as pb;
use jiff::Timestamp;

use crate::{
    call::{Call, fields, options, request, service},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{resource, values},
};

resource! {
    /// A person in a tenant.
    User = pb::User {
        /// Resource name: `tenants/{tenant}/users/{user}`.
        name: String,
        /// UUIDv7, never used twice, not even after the name is.
        uid: String,
        /// Changes with every change a reader can see.
        etag: String,
        /// Name for people.
        display_name: String,
        /// Labels to find it by.
        labels: BTreeMap<String, String>,
        /// Mail address; unique in the tenant.
        email: String,
        /// Whether it can sign in.
        state: UserState,
        /// The account at the identity provider that signs in as this user.
        identity: Option<UserIdentity>,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// When it last changed.
        update_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
    }
}

resource! {
    /// An account at an identity provider.
    UserIdentity = pb::UserIdentity {
        /// The identity provider.
        issuer: String,
        /// The account, as the provider names it for ever.
        subject: String,
        /// When it was bound.
        bind_time: Option<Timestamp>,
    }
}

values! {
    /// Whether a user can sign in.
    UserState {
        /// Invited; becomes active with the first sign-in.
        Invited = 1 "INVITED",
        /// Can sign in.
        Active = 2 "ACTIVE",
        /// Cannot sign in; tokens and keys are refused.
        Deactivated = 3 "DEACTIVATED",
    }
}

service! {
    /// Users; see [`Client::users`](crate::Client::users).
    Users
}

impl Users {
    /// Starts adding a person to the client's tenant, by mail address.
    ///
    /// # Errors
    /// [`is_already_exists`](crate::Error::is_already_exists), [`is_quota_exceeded`](crate::Error::is_quota_exceeded).
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// freehold.users().invite("ada@acme.example").id("ada").display_name("Ada").send().await?;
    /// # Ok(()) }
    /// ```
    pub fn invite(&self, email: impl Into<String>) -> InviteUser {
        let user = pb::User { email: email.into(), ..Default::default() };
        let request = pb::InviteUserRequest { user: Some(user), request_id: new_id(), ..Default::default() };
        InviteUser { call: Call::new(&self.core, request).in_tenant(|request, parent| request.parent = parent) }
    }

    /// Reads one user.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetUser {
        let call = Call::new(&self.core, pb::GetUserRequest::default());
        GetUser { call: call.name(Kind::User, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the users of the client's tenant by their creation, oldest first.
    pub fn list(&self) -> List<User> {
        let call = Call::new(&self.core, pb::ListUsersRequest::default()).in_tenant(|request, parent| request.parent = parent);
        list!(call, "/freehold.iam.v1.UserService/ListUsers", pb::ListUsersResponse { users })
    }

    /// Ends all access of a user at once; bindings are kept.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn deactivate(&self, name: impl AsRef<str>) -> DeactivateUser {
        let request = pb::DeactivateUserRequest { request_id: new_id(), ..Default::default() };
        DeactivateUser {
            call: Call::new(&self.core, request).name(Kind::User, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Unbinds a user from the account at the identity provider, so that the next sign-in with the user's mail address binds another
    /// one.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn unlink_identity(&self, name: impl AsRef<str>) -> UnlinkUserIdentity {
        let request = pb::UnlinkUserIdentityRequest { request_id: new_id(), ..Default::default() };
        UnlinkUserIdentity {
            call: Call::new(&self.core, request).name(Kind::User, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Deletes a user with bindings and keys.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn delete(&self, name: impl AsRef<str>) -> DeleteUser {
        let request = pb::DeleteUserRequest { request_id: new_id(), ..Default::default() };
        DeleteUser { call: Call::new(&self.core, request).name(Kind::User, name.as_ref(), |request, name| request.name = name) }
    }
}

request! {
    /// A person to add; see [`Users::invite`].
    InviteUser(pb::InviteUserRequest) -> User = "/freehold.iam.v1.UserService/InviteUser", pb::InviteUserResponse { user }
}
options!(InviteUser: request_id, validate_only);
fields! { InviteUser.user:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// Adds a label: keys `[a-z][a-z0-9_./-]{0,62}`, values at most 63 characters, at most 64 labels.
    labels: labels,
}

impl InviteUser {
    /// Last part of the name; without it one is made from the mail address.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.call.request.user_id = id.into();
        self
    }
}

request! {
    /// A user to read; see [`Users::get`].
    GetUser(pb::GetUserRequest) -> User = "/freehold.iam.v1.UserService/GetUser", pb::GetUserResponse { user }
}

request! {
    /// A user whose access to end; see [`Users::deactivate`].
    DeactivateUser(pb::DeactivateUserRequest) -> User =
        "/freehold.iam.v1.UserService/DeactivateUser", pb::DeactivateUserResponse { user }
}
options!(DeactivateUser: request_id, etag);

request! {
    /// A user to unbind; see [`Users::unlink_identity`].
    UnlinkUserIdentity(pb::UnlinkUserIdentityRequest) -> User =
        "/freehold.iam.v1.UserService/UnlinkUserIdentity", pb::UnlinkUserIdentityResponse { user }
}
options!(UnlinkUserIdentity: request_id, etag);

request! {
    /// A user to delete; see [`Users::delete`].
    DeleteUser(pb::DeleteUserRequest) -> () = "/freehold.iam.v1.UserService/DeleteUser", pb::DeleteUserResponse {}
}
options!(DeleteUser: request_id, etag, allow_missing);
