//! Service accounts: the programs of a tenant, and the certificate identities they answer to.

use std::collections::BTreeMap;

use freehold_proto::iam::v1 as pb;
use jiff::Timestamp;

use crate::{
    call::{Call, fields, options, request, service},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::resource,
};

resource! {
    /// A program in a tenant.
    ServiceAccount = pb::ServiceAccount {
        /// Resource name: `tenants/{tenant}/serviceAccounts/{service_account}`.
        name: String,
        /// UUIDv7, never used twice, not even after the name is.
        uid: String,
        /// Changes with every change a reader can see.
        etag: String,
        /// Name for people.
        display_name: String,
        /// Labels to find it by.
        labels: BTreeMap<String, String>,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// When it last changed.
        update_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
    }
}

resource! {
    /// A certificate identity that a service account answers to.
    WorkloadIdentity = pb::WorkloadIdentity {
        /// Resource name: `tenants/{tenant}/serviceAccounts/{service_account}/workloadIdentities/{uid}`.
        name: String,
        /// URI of the certificate, `spiffe://trust-domain/path`; unique in the installation.
        spiffe_id: String,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
    }
}

service! {
    /// Service accounts; see [`Client::service_accounts`](crate::Client::service_accounts).
    ServiceAccounts
}

impl ServiceAccounts {
    /// Starts building a service account.
    ///
    /// # Errors
    /// [`is_already_exists`](crate::Error::is_already_exists).
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// freehold.service_accounts().create("ci").display_name("Continuous integration").send().await?;
    /// freehold.service_accounts().create_identity("ci", "spiffe://acme.example/ci").send().await?;
    /// # Ok(()) }
    /// ```
    pub fn create(&self, name: impl AsRef<str>) -> CreateServiceAccount {
        let request = pb::CreateServiceAccountRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request).new_name(Kind::ServiceAccount, name.as_ref(), |request, parent, id| {
            (request.parent, request.service_account_id) = (parent, id);
        });
        CreateServiceAccount { call }
    }

    /// Reads one service account.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetServiceAccount {
        let call = Call::new(&self.core, pb::GetServiceAccountRequest::default());
        GetServiceAccount { call: call.name(Kind::ServiceAccount, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the service accounts of the client's tenant by their creation, oldest first.
    pub fn list(&self) -> List<ServiceAccount> {
        let call =
            Call::new(&self.core, pb::ListServiceAccountsRequest::default()).in_tenant(|request, parent| request.parent = parent);
        list!(
            call,
            "/freehold.iam.v1.ServiceAccountService/ListServiceAccounts",
            pb::ListServiceAccountsResponse { service_accounts }
        )
    }

    /// Deletes a service account; its bindings, keys and identities go with it.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn delete(&self, name: impl AsRef<str>) -> DeleteServiceAccount {
        let request = pb::DeleteServiceAccountRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        DeleteServiceAccount { call: call.name(Kind::ServiceAccount, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lets a certificate identity, `spiffe://trust-domain/path`, act as the service account.
    ///
    /// # Errors
    /// [`is_already_exists`](crate::Error::is_already_exists), [`is_not_found`](crate::Error::is_not_found).
    pub fn create_identity(&self, service_account: impl AsRef<str>, spiffe_id: impl Into<String>) -> CreateWorkloadIdentity {
        let request =
            pb::CreateWorkloadIdentityRequest { spiffe_id: spiffe_id.into(), request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        CreateWorkloadIdentity {
            call: call.name(Kind::ServiceAccount, service_account.as_ref(), |request, parent| request.parent = parent),
        }
    }

    /// Lists the certificate identities of a service account.
    pub fn list_identities(&self, service_account: impl AsRef<str>) -> List<WorkloadIdentity> {
        let call = Call::new(&self.core, pb::ListWorkloadIdentitiesRequest::default()).name(
            Kind::ServiceAccount,
            service_account.as_ref(),
            |request, parent| request.parent = parent,
        );
        list!(
            call,
            "/freehold.iam.v1.ServiceAccountService/ListWorkloadIdentities",
            pb::ListWorkloadIdentitiesResponse { workload_identities }
        )
    }

    /// Ends what a certificate identity may do as its service account.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn delete_identity(&self, name: impl AsRef<str>) -> DeleteWorkloadIdentity {
        let request = pb::DeleteWorkloadIdentityRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        DeleteWorkloadIdentity { call: call.name(Kind::WorkloadIdentity, name.as_ref(), |request, name| request.name = name) }
    }
}

request! {
    /// A service account to create; see [`ServiceAccounts::create`].
    CreateServiceAccount(pb::CreateServiceAccountRequest) -> ServiceAccount =
        "/freehold.iam.v1.ServiceAccountService/CreateServiceAccount", pb::CreateServiceAccountResponse { service_account }
}
options!(CreateServiceAccount: request_id, validate_only);
fields! { CreateServiceAccount.service_account:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// Adds a label: keys `[a-z][a-z0-9_./-]{0,62}`, values at most 63 characters, at most 64 labels.
    labels: labels,
}

request! {
    /// A service account to read; see [`ServiceAccounts::get`].
    GetServiceAccount(pb::GetServiceAccountRequest) -> ServiceAccount =
        "/freehold.iam.v1.ServiceAccountService/GetServiceAccount", pb::GetServiceAccountResponse { service_account }
}

request! {
    /// A service account to delete; see [`ServiceAccounts::delete`].
    DeleteServiceAccount(pb::DeleteServiceAccountRequest) -> () =
        "/freehold.iam.v1.ServiceAccountService/DeleteServiceAccount", pb::DeleteServiceAccountResponse {}
}
options!(DeleteServiceAccount: request_id, etag, allow_missing);

request! {
    /// A certificate identity to let act; see [`ServiceAccounts::create_identity`].
    CreateWorkloadIdentity(pb::CreateWorkloadIdentityRequest) -> WorkloadIdentity =
        "/freehold.iam.v1.ServiceAccountService/CreateWorkloadIdentity", pb::CreateWorkloadIdentityResponse { workload_identity }
}
options!(CreateWorkloadIdentity: request_id);

request! {
    /// A certificate identity to end; see [`ServiceAccounts::delete_identity`].
    DeleteWorkloadIdentity(pb::DeleteWorkloadIdentityRequest) -> () =
        "/freehold.iam.v1.ServiceAccountService/DeleteWorkloadIdentity", pb::DeleteWorkloadIdentityResponse {}
}
options!(DeleteWorkloadIdentity: request_id);
