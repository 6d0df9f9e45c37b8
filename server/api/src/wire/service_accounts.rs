//! ServiceAccountService.

use freehold_domain::{
    Result,
    iam::{self, ServiceAccount, WorkloadIdentity},
    names::{ServiceAccountName, TenantName},
};
use freehold_proto::iam::v1 as pb;
use freehold_service::service_accounts::{self, CreateServiceAccount};
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, write};

#[tonic::async_trait]
impl pb::service_account_service_server::ServiceAccountService for Wire {
    async fn create_service_account(
        &self,
        request: Request<pb::CreateServiceAccountRequest>,
    ) -> Result<Response<pb::CreateServiceAccountResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, ""), create(body))?;
            let account = service_accounts::create(&self.app, &caller, cmd, &write).await?;
            Ok(pb::CreateServiceAccountResponse { service_account: Some(message(&account)) })
        })
        .await
    }

    async fn get_service_account(
        &self,
        request: Request<pb::GetServiceAccountRequest>,
    ) -> Result<Response<pb::GetServiceAccountResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let account = service_accounts::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetServiceAccountResponse { service_account: Some(message(&account)) })
        })
        .await
    }

    async fn list_service_accounts(
        &self,
        request: Request<pb::ListServiceAccountsRequest>,
    ) -> Result<Response<pb::ListServiceAccountsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("serviceAccounts|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<TenantName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = service_accounts::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListServiceAccountsResponse {
                service_accounts: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn delete_service_account(
        &self,
        request: Request<pb::DeleteServiceAccountRequest>,
    ) -> Result<Response<pb::DeleteServiceAccountResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, &body.etag), parse::name("name", &body.name))?;
            service_accounts::delete(&self.app, &caller, &name, body.allow_missing, &write).await?;
            Ok(pb::DeleteServiceAccountResponse {})
        })
        .await
    }

    async fn create_workload_identity(
        &self,
        request: Request<pb::CreateWorkloadIdentityRequest>,
    ) -> Result<Response<pb::CreateWorkloadIdentityResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, false, "");
            let mut fields = parse::Fields::new();
            let parent = fields.text::<ServiceAccountName>("parent", &body.parent);
            let spiffe_id = fields.check("spiffe_id", iam::spiffe_id(&body.spiffe_id));
            let (write, (parent, spiffe_id)) = parse::both(write, fields.finish(|| Some((parent?, spiffe_id?))))?;
            let identity = service_accounts::create_identity(&self.app, &caller, &parent, spiffe_id, &write).await?;
            Ok(pb::CreateWorkloadIdentityResponse { workload_identity: Some(identity_message(&identity)) })
        })
        .await
    }

    async fn list_workload_identities(
        &self,
        request: Request<pb::ListWorkloadIdentitiesRequest>,
    ) -> Result<Response<pb::ListWorkloadIdentitiesResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("workloadIdentities|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<ServiceAccountName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = service_accounts::list_identities(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListWorkloadIdentitiesResponse {
                workload_identities: listed.items.iter().map(identity_message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn delete_workload_identity(
        &self,
        request: Request<pb::DeleteWorkloadIdentityRequest>,
    ) -> Result<Response<pb::DeleteWorkloadIdentityResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, ""), parse::name("name", &body.name))?;
            service_accounts::delete_identity(&self.app, &caller, &name, &write).await?;
            Ok(pb::DeleteWorkloadIdentityResponse {})
        })
        .await
    }
}

fn create(body: pb::CreateServiceAccountRequest) -> Result<CreateServiceAccount> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    let id = fields.id("service_account_id", &body.service_account_id);
    let account = body.service_account.unwrap_or_default();
    let described = fields.described("service_account", account.display_name, account.labels);
    fields.finish(|| Some(CreateServiceAccount { parent: parent?, id, described }))
}

fn message(account: &ServiceAccount) -> pb::ServiceAccount {
    let meta = &account.meta;
    pb::ServiceAccount {
        name: account.name.to_string(),
        uid: meta.uid.to_string(),
        etag: meta.etag(),
        display_name: meta.display_name.clone(),
        labels: meta.labels.clone(),
        create_time: Some(render::time(meta.create_time)),
        update_time: Some(render::time(meta.update_time)),
        create_principal: meta.creator.clone(),
    }
}

fn identity_message(identity: &WorkloadIdentity) -> pb::WorkloadIdentity {
    pb::WorkloadIdentity {
        name: identity.name.to_string(),
        spiffe_id: identity.spiffe_id.clone(),
        create_time: Some(render::time(identity.create_time)),
        create_principal: identity.creator.clone(),
    }
}
