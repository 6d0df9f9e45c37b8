//! Access: roles, and who has them where.

use freehold_proto::iam::v1 as pb;
use jiff::Timestamp;

use crate::{
    call::{Call, options, request, service},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{Lift, resource, timestamp},
};

resource! {
    /// A set of permissions.
    Role = pb::Role {
        /// Resource name: `roles/{role}`.
        name: String,
        /// Name for people.
        display_name: String,
        /// What it allows, for example `deployments.runs.approve`; `area.*` stands for all of an area.
        permissions: Vec<String>,
    }
}

resource! {
    /// Gives a role to a member on a resource and all below it.
    RoleBinding = pb::RoleBinding {
        /// Resource name: `tenants/{tenant}/roleBindings/{uid}`.
        name: String,
        /// The role, `roles/{role}`.
        role: String,
        /// The user or service account.
        member: String,
        /// Where: the tenant, a project or an environment.
        resource: String,
        /// When it ends by itself; absent means never.
        expire_time: Option<Timestamp>,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
    }
}

service! {
    /// Roles and bindings; see [`Client::access`](crate::Client::access).
    Access
}

impl Access {
    /// Lists the roles of the installation; they fit into one answer.
    pub fn list_roles(&self) -> ListRoles {
        ListRoles { call: Call::new(&self.core, pb::ListRolesRequest {}) }
    }

    /// Starts giving a role to a member, `users/ada` or `serviceAccounts/ci`, on the client's tenant or on a part of it.
    ///
    /// # Errors
    /// [`is_permission_denied`](crate::Error::is_permission_denied): nobody can give what they do not have there themselves.
    /// [`is_already_exists`](crate::Error::is_already_exists).
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// freehold.access().bind("approver", "users/ada").on("shop/prod").send().await?;
    /// # Ok(()) }
    /// ```
    pub fn bind(&self, role: impl AsRef<str>, member: impl AsRef<str>) -> CreateRoleBinding {
        let request = pb::CreateRoleBindingRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request)
            .in_tenant(|request, parent| {
                request.role_binding.get_or_insert_default().resource = parent.clone();
                request.parent = parent;
            })
            .reference(Kind::Role, role.as_ref(), |request, name| request.role_binding.get_or_insert_default().role = name)
            .reference(Kind::Member, member.as_ref(), |request, name| request.role_binding.get_or_insert_default().member = name);
        CreateRoleBinding { call }
    }

    /// Lists the bindings of the client's tenant.
    pub fn list_bindings(&self) -> List<RoleBinding> {
        let call =
            Call::new(&self.core, pb::ListRoleBindingsRequest::default()).in_tenant(|request, parent| request.parent = parent);
        list!(call, "/freehold.iam.v1.AccessService/ListRoleBindings", pb::ListRoleBindingsResponse { role_bindings })
    }

    /// Takes a role away, by the name of its binding.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn unbind(&self, name: impl AsRef<str>) -> DeleteRoleBinding {
        let request = pb::DeleteRoleBindingRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        DeleteRoleBinding { call: call.name(Kind::RoleBinding, name.as_ref(), |request, name| request.name = name) }
    }
}

request! {
    /// Roles to list; see [`Access::list_roles`].
    ListRoles(pb::ListRolesRequest) -> Vec<Role> =
        "/freehold.iam.v1.AccessService/ListRoles", |answer: pb::ListRolesResponse| Ok(answer.roles.lift())
}

request! {
    /// A role to give; see [`Access::bind`].
    CreateRoleBinding(pb::CreateRoleBindingRequest) -> RoleBinding =
        "/freehold.iam.v1.AccessService/CreateRoleBinding", pb::CreateRoleBindingResponse { role_binding }
}
options!(CreateRoleBinding: request_id, validate_only);

impl CreateRoleBinding {
    /// Where: a project, `shop`, or an environment, `shop/dev`, of the tenant; the whole tenant if not said.
    pub fn on(mut self, resource: impl AsRef<str>) -> Self {
        self.call = self.call.reference(Kind::Scope, resource.as_ref(), |request, name| {
            request.role_binding.get_or_insert_default().resource = name;
        });
        self
    }

    /// When it ends by itself; never if not said.
    pub fn expire_time(mut self, time: Timestamp) -> Self {
        self.call.request.role_binding.get_or_insert_default().expire_time = Some(timestamp(time));
        self
    }
}

request! {
    /// A role to take away; see [`Access::unbind`].
    DeleteRoleBinding(pb::DeleteRoleBindingRequest) -> () =
        "/freehold.iam.v1.AccessService/DeleteRoleBinding", pb::DeleteRoleBindingResponse {}
}
options!(DeleteRoleBinding: request_id);
