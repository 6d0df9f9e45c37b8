//! AccessService.

use freehold_domain::{
    Result,
    access::{ROLES, Role},
    iam::RoleBinding,
    names::TenantName,
};
use freehold_proto::iam::v1 as pb;
use freehold_service::access::{self, CreateRoleBinding};
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, write};

#[tonic::async_trait]
impl pb::access_service_server::AccessService for Wire {
    async fn list_roles(&self, request: Request<pb::ListRolesRequest>) -> Result<Response<pb::ListRolesResponse>, Status> {
        self.serve(request, |_, _| async move { Ok(pb::ListRolesResponse { roles: ROLES.iter().map(role_message).collect() }) })
            .await
    }

    async fn create_role_binding(
        &self,
        request: Request<pb::CreateRoleBindingRequest>,
    ) -> Result<Response<pb::CreateRoleBindingResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, ""), create(body))?;
            let binding = access::create_binding(&self.app, &caller, cmd, &write).await?;
            Ok(pb::CreateRoleBindingResponse { role_binding: Some(message(&binding)) })
        })
        .await
    }

    async fn list_role_bindings(
        &self,
        request: Request<pb::ListRoleBindingsRequest>,
    ) -> Result<Response<pb::ListRoleBindingsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("roleBindings|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<TenantName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = access::list_bindings(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListRoleBindingsResponse {
                role_bindings: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn delete_role_binding(
        &self,
        request: Request<pb::DeleteRoleBindingRequest>,
    ) -> Result<Response<pb::DeleteRoleBindingResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, ""), parse::name("name", &body.name))?;
            access::delete_binding(&self.app, &caller, &name, &write).await?;
            Ok(pb::DeleteRoleBindingResponse {})
        })
        .await
    }
}

fn create(body: pb::CreateRoleBindingRequest) -> Result<CreateRoleBinding> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    let binding = body.role_binding.unwrap_or_default();
    let role = fields.check("role_binding.role", Role::grantable(&binding.role));
    let member = fields.text("role_binding.member", &binding.member);
    let resource = fields.text("role_binding.resource", &binding.resource);
    let end = binding.expire_time.as_ref();
    let expire_time = end.and_then(|end| fields.check("role_binding.expire_time", parse::time(end)));
    fields.finish(|| Some(CreateRoleBinding { parent: parent?, role: role?, member: member?, resource: resource?, expire_time }))
}

fn role_message(role: &Role) -> pb::Role {
    pb::Role {
        name: role.name(),
        display_name: role.display_name.to_owned(),
        permissions: role.permissions.iter().map(ToString::to_string).collect(),
    }
}

fn message(binding: &RoleBinding) -> pb::RoleBinding {
    pb::RoleBinding {
        name: binding.name.to_string(),
        role: binding.role.clone(),
        member: binding.member.to_string(),
        resource: binding.resource.clone(),
        expire_time: binding.expire_time.map(render::time),
        create_time: Some(render::time(binding.create_time)),
        create_principal: binding.creator.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use freehold_domain::access::TENANT_PERMISSIONS;
    use freehold_proto::METHODS;

    use super::*;

    /// What is missing in the table could be given away by people who do not have it.
    #[test]
    fn the_table_of_permissions_is_that_of_the_contract() {
        let contract: BTreeSet<&str> = METHODS.iter().map(|method| method.permission).filter(|name| !name.is_empty()).collect();
        let (runners, tenants): (BTreeSet<&str>, BTreeSet<&str>) =
            contract.into_iter().partition(|name| name.starts_with("runners."));
        assert_eq!(TENANT_PERMISSIONS.iter().copied().collect::<BTreeSet<_>>(), tenants);
        assert!(!runners.is_empty());
    }

    #[test]
    fn every_wrong_field_of_a_binding_is_named_at_once() {
        let end = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
        for role in ["roles/platform-admin", "roles/runner", "roles/nothing", "viewer", ""] {
            let binding = pb::RoleBinding {
                role: role.to_owned(),
                member: "ada".to_owned(),
                resource: "tenants/acme/blueprints/web".to_owned(),
                expire_time: Some(end),
                ..Default::default()
            };
            let body = pb::CreateRoleBindingRequest { role_binding: Some(binding), ..Default::default() };
            let error = create(body).expect_err(role);
            let fields: Vec<&str> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
            let binding = ["role", "member", "resource", "expire_time"].map(|field| format!("role_binding.{field}"));
            assert_eq!(fields[0], "parent");
            assert_eq!(fields[1..], binding);
        }
    }
}
