//! TenantService.

use freehold_domain::{
    Result,
    tenants::{Tenant, TenantState, queue_weight},
};
use freehold_proto::tenants::v1 as pb;
use freehold_service::tenants::{self, CreateTenant, UpdateTenant};
use tonic::{Request, Response, Status};

use super::{Wire, operations, parse, render, write};

#[tonic::async_trait]
impl pb::tenant_service_server::TenantService for Wire {
    async fn create_tenant(
        &self,
        request: Request<pb::CreateTenantRequest>,
    ) -> Result<Response<pb::CreateTenantResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, ""), create(body))?;
            let tenant = tenants::create(&self.app, &caller, cmd, &write).await?;
            Ok(pb::CreateTenantResponse { tenant: Some(message(&tenant)) })
        })
        .await
    }

    async fn get_tenant(&self, request: Request<pb::GetTenantRequest>) -> Result<Response<pb::GetTenantResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let tenant = tenants::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetTenantResponse { tenant: Some(message(&tenant)) })
        })
        .await
    }

    async fn list_tenants(&self, request: Request<pb::ListTenantsRequest>) -> Result<Response<pb::ListTenantsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let mut fields = parse::Fields::new();
            let page = fields.page(body.page_size, &body.page_token, false, "tenants")?;
            let listed = tenants::list(&self.app, &caller, fields.finish(|| Some(page))?).await?;
            Ok(pb::ListTenantsResponse {
                tenants: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, "tenants"),
            })
        })
        .await
    }

    async fn update_tenant(
        &self,
        request: Request<pb::UpdateTenantRequest>,
    ) -> Result<Response<pb::UpdateTenantResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let etag = body.tenant.as_ref().map(|tenant| tenant.etag.as_str()).unwrap_or_default();
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, etag), update(body))?;
            let tenant = tenants::update(&self.app, &caller, cmd, &write).await?;
            Ok(pb::UpdateTenantResponse { tenant: Some(message(&tenant)) })
        })
        .await
    }

    async fn suspend_tenant(
        &self,
        request: Request<pb::SuspendTenantRequest>,
    ) -> Result<Response<pb::SuspendTenantResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, false, &body.etag);
            let mut fields = parse::Fields::new();
            let name = fields.text("name", &body.name);
            if body.reason.trim().is_empty() {
                fields.wrong("reason", "required; members of the tenant read it");
            }
            let reason = fields.prose("reason", body.reason, 500);
            let (write, name) = parse::both(write, fields.finish(|| name))?;
            let tenant = tenants::suspend(&self.app, &caller, &name, reason, &write).await?;
            Ok(pb::SuspendTenantResponse { tenant: Some(message(&tenant)) })
        })
        .await
    }

    async fn resume_tenant(
        &self,
        request: Request<pb::ResumeTenantRequest>,
    ) -> Result<Response<pb::ResumeTenantResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, &body.etag), parse::name("name", &body.name))?;
            let tenant = tenants::resume(&self.app, &caller, &name, &write).await?;
            Ok(pb::ResumeTenantResponse { tenant: Some(message(&tenant)) })
        })
        .await
    }

    async fn delete_tenant(
        &self,
        request: Request<pb::DeleteTenantRequest>,
    ) -> Result<Response<pb::DeleteTenantResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, &body.etag), parse::name("name", &body.name))?;
            let operation = tenants::delete(&self.app, &caller, &name, body.force, &write).await?;
            Ok(pb::DeleteTenantResponse { operation: Some(operations::message(&operation)) })
        })
        .await
    }
}

fn create(body: pb::CreateTenantRequest) -> Result<CreateTenant> {
    let mut fields = parse::Fields::new();
    let id = fields.id("tenant_id", &body.tenant_id);
    let tenant = body.tenant.unwrap_or_default();
    let described = fields.described("tenant", tenant.display_name, tenant.labels);
    let queue_weight = weight(&mut fields, tenant.queue_weight != 0, tenant.queue_weight);
    fields.finish(|| Some(CreateTenant { id, described, queue_weight }))
}

fn update(body: pb::UpdateTenantRequest) -> Result<UpdateTenant> {
    let mask = parse::Mask::new(body.update_mask.as_ref(), &["display_name", "labels", "queue_weight"])?;
    let mut fields = parse::Fields::new();
    let tenant = body.tenant.unwrap_or_default();
    let name = fields.text("tenant.name", &tenant.name);
    let (display_name, labels) = (!tenant.display_name.is_empty(), !tenant.labels.is_empty());
    let described = fields.described("tenant", tenant.display_name, tenant.labels);
    let writes = mask.writes("queue_weight", tenant.queue_weight != 0);
    let queue_weight = weight(&mut fields, writes, tenant.queue_weight);
    fields.finish(|| {
        Some(UpdateTenant {
            queue_weight,
            name: name?,
            display_name: mask.take("display_name", display_name, described.display_name),
            labels: mask.take("labels", labels, described.labels),
        })
    })
}

fn weight(fields: &mut parse::Fields, writes: bool, value: i32) -> Option<u32> {
    if writes { fields.check("tenant.queue_weight", queue_weight(value)) } else { None }
}

fn message(tenant: &Tenant) -> pb::Tenant {
    let meta = &tenant.meta;
    let state = match tenant.state {
        TenantState::Active => pb::TenantState::Active,
        TenantState::Suspended => pb::TenantState::Suspended,
        TenantState::Deleted => pb::TenantState::Deleted,
    };
    pb::Tenant {
        name: tenant.name.to_string(),
        uid: meta.uid.to_string(),
        etag: meta.etag(),
        display_name: meta.display_name.clone(),
        labels: meta.labels.clone(),
        create_time: Some(render::time(meta.create_time)),
        update_time: Some(render::time(meta.update_time)),
        create_principal: meta.creator.clone(),
        state: state.into(),
        suspend_reason: tenant.suspend_reason.clone(),
        delete_time: tenant.delete_time.map(render::time),
        purge_time: tenant.purge_time().map(render::time),
        queue_weight: i32::try_from(tenant.queue_weight).unwrap_or(i32::MAX),
    }
}
