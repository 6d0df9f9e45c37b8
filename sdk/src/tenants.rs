//! Tenants: customers or teams, nothing of which is visible to another.

use std::collections::BTreeMap;

use freehold_proto::tenants::v1 as pb;
use jiff::Timestamp;

use crate::{
    Operation,
    call::{Call, fields, options, request, service, updates},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{resource, values},
};

resource! {
    /// A customer or team.
    Tenant = pb::Tenant {
        /// Resource name: `tenants/{tenant}`.
        name: String,
        /// UUIDv7, never used twice, not even after the name is.
        uid: String,
        /// Changes with every change a reader can see.
        etag: String,
        /// Name for people.
        display_name: String,
        /// Labels to find it by.
        labels: BTreeMap<String, String>,
        /// What it may do.
        state: TenantState,
        /// Why it was suspended.
        suspend_reason: Option<String>,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// When it last changed.
        update_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
        /// When it was deleted; the name is free after `purge_time`.
        delete_time: Option<Timestamp>,
        /// When a deleted tenant is forgotten.
        purge_time: Option<Timestamp>,
        /// How much of the runners it is given while others want them too, compared with these: 1 to 100.
        queue_weight: i32,
    }
}

values! {
    /// What a tenant may do.
    TenantState {
        /// Everything.
        Active = 1 "ACTIVE",
        /// Reads only; runs that had begun go on.
        Suspended = 2 "SUSPENDED",
        /// Nothing; kept until its purge time.
        Deleted = 3 "DELETED",
    }
}

service! {
    /// Tenants; see [`Client::tenants`](crate::Client::tenants).
    Tenants
}

impl Tenants {
    /// Starts building a tenant, which gets the default quotas.
    ///
    /// # Errors
    /// [`is_already_exists`](crate::Error::is_already_exists).
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// freehold.tenants().create("acme").display_name("Acme Ltd").send().await?;
    /// # Ok(()) }
    /// ```
    pub fn create(&self, name: impl AsRef<str>) -> CreateTenant {
        let request = pb::CreateTenantRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request).new_name(Kind::Tenant, name.as_ref(), |request, _, id| request.tenant_id = id);
        CreateTenant { call }
    }

    /// Reads one tenant.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetTenant {
        let call = Call::new(&self.core, pb::GetTenantRequest::default());
        GetTenant { call: call.name(Kind::Tenant, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the tenants that the caller may see by their creation, oldest first.
    pub fn list(&self) -> List<Tenant> {
        list!(
            &self.core,
            pb::ListTenantsRequest::default(),
            "/freehold.tenants.v1.TenantService/ListTenants",
            pb::ListTenantsResponse { tenants }
        )
    }

    /// Starts changing a tenant: only what is set is written.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn update(&self, name: impl AsRef<str>) -> UpdateTenant {
        let request = pb::UpdateTenantRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        UpdateTenant {
            call: call.name(Kind::Tenant, name.as_ref(), |request, name| request.tenant.get_or_insert_default().name = name),
        }
    }

    /// Stops new writes and runs of a tenant; reads stay open, and runs that had begun go on.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn suspend(&self, name: impl AsRef<str>, reason: impl Into<String>) -> SuspendTenant {
        let request = pb::SuspendTenantRequest { reason: reason.into(), request_id: new_id(), ..Default::default() };
        SuspendTenant {
            call: Call::new(&self.core, request).name(Kind::Tenant, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Lets a suspended tenant go on; no error when it is active.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn resume(&self, name: impl AsRef<str>) -> ResumeTenant {
        let request = pb::ResumeTenantRequest { request_id: new_id(), ..Default::default() };
        ResumeTenant {
            call: Call::new(&self.core, request).name(Kind::Tenant, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Deletes a tenant; it is kept for 30 days.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_failed_precondition`](crate::Error::is_failed_precondition) while it
    /// has deployments and [`force`](DeleteTenant::force) is not set, [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn delete(&self, name: impl AsRef<str>) -> DeleteTenant {
        let request = pb::DeleteTenantRequest { request_id: new_id(), ..Default::default() };
        DeleteTenant {
            call: Call::new(&self.core, request).name(Kind::Tenant, name.as_ref(), |request, name| request.name = name),
        }
    }
}

request! {
    /// A tenant to create; see [`Tenants::create`].
    CreateTenant(pb::CreateTenantRequest) -> Tenant =
        "/freehold.tenants.v1.TenantService/CreateTenant", pb::CreateTenantResponse { tenant }
}
options!(CreateTenant: request_id, validate_only);
fields! { CreateTenant.tenant:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// Adds a label: keys `[a-z][a-z0-9_./-]{0,62}`, values at most 63 characters, at most 64 labels.
    labels: labels,
}

impl CreateTenant {
    /// How much of the runners it is given while others want them too, compared with these: 1 to 100; 1 without it.
    pub fn queue_weight(mut self, weight: i32) -> Self {
        self.call.request.tenant.get_or_insert_default().queue_weight = weight;
        self
    }
}

request! {
    /// A tenant to read; see [`Tenants::get`].
    GetTenant(pb::GetTenantRequest) -> Tenant = "/freehold.tenants.v1.TenantService/GetTenant", pb::GetTenantResponse { tenant }
}

request! {
    /// A tenant to change; see [`Tenants::update`].
    UpdateTenant(pb::UpdateTenantRequest) -> Tenant =
        "/freehold.tenants.v1.TenantService/UpdateTenant", pb::UpdateTenantResponse { tenant }
}
options!(UpdateTenant: request_id, validate_only);
updates! { UpdateTenant.tenant:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// Replaces all labels.
    labels: labels,
}

impl UpdateTenant {
    /// How much of the runners it is given while others want them too, compared with these: 1 to 100. For platform administrators.
    pub fn queue_weight(mut self, weight: i32) -> Self {
        self.call.request.tenant.get_or_insert_default().queue_weight = weight;
        self.mask("queue_weight");
        self
    }
}

request! {
    /// A tenant to suspend; see [`Tenants::suspend`].
    SuspendTenant(pb::SuspendTenantRequest) -> Tenant =
        "/freehold.tenants.v1.TenantService/SuspendTenant", pb::SuspendTenantResponse { tenant }
}
options!(SuspendTenant: request_id, etag);

request! {
    /// A tenant to let go on; see [`Tenants::resume`].
    ResumeTenant(pb::ResumeTenantRequest) -> Tenant =
        "/freehold.tenants.v1.TenantService/ResumeTenant", pb::ResumeTenantResponse { tenant }
}
options!(ResumeTenant: request_id, etag);

request! {
    /// A tenant to delete; see [`Tenants::delete`].
    DeleteTenant(pb::DeleteTenantRequest) -> Operation =
        "/freehold.tenants.v1.TenantService/DeleteTenant", pb::DeleteTenantResponse { operation }
}
options!(DeleteTenant: request_id, etag);

impl DeleteTenant {
    /// Deletes it even with deployments in it; they are forgotten, not destroyed.
    pub fn force(mut self) -> Self {
        self.call.request.force = true;
        self
    }
}
