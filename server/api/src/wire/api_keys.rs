//! ApiKeyService.

use freehold_domain::{Result, iam::ApiKey, names::TenantName, resource};
use freehold_proto::iam::v1 as pb;
use freehold_service::api_keys::{self, CreateApiKey};
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, write};

#[tonic::async_trait]
impl pb::api_key_service_server::ApiKeyService for Wire {
    async fn create_api_key(
        &self,
        request: Request<pb::CreateApiKeyRequest>,
    ) -> Result<Response<pb::CreateApiKeyResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, false, ""), create(body))?;
            let (key, secret) = api_keys::create(&self.app, &caller, cmd, &write).await?;
            Ok(pb::CreateApiKeyResponse { api_key: Some(message(&key)), secret })
        })
        .await
    }

    async fn list_api_keys(&self, request: Request<pb::ListApiKeysRequest>) -> Result<Response<pb::ListApiKeysResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("apiKeys|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<TenantName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = api_keys::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListApiKeysResponse {
                api_keys: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn revoke_api_key(
        &self,
        request: Request<pb::RevokeApiKeyRequest>,
    ) -> Result<Response<pb::RevokeApiKeyResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, ""), parse::name("name", &body.name))?;
            let key = api_keys::revoke(&self.app, &caller, &name, &write).await?;
            Ok(pb::RevokeApiKeyResponse { api_key: Some(message(&key)) })
        })
        .await
    }
}

fn create(body: pb::CreateApiKeyRequest) -> Result<CreateApiKey> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    let key = body.api_key.unwrap_or_default();
    let display_name = fields.check("api_key.display_name", resource::display_name(key.display_name));
    let principal = fields.text("api_key.principal", &key.principal);
    let end = key.expire_time.as_ref().ok_or_else(|| "required; at most 400 days ahead".to_owned());
    let expire_time = fields.check("api_key.expire_time", end.and_then(parse::time));
    fields.finish(|| {
        Some(CreateApiKey { parent: parent?, display_name: display_name?, principal: principal?, expire_time: expire_time? })
    })
}

fn message(key: &ApiKey) -> pb::ApiKey {
    pb::ApiKey {
        name: key.name.to_string(),
        display_name: key.display_name.clone(),
        principal: key.principal.to_string(),
        prefix: key.prefix.clone(),
        create_time: Some(render::time(key.create_time)),
        expire_time: Some(render::time(key.expire_time)),
        revoke_time: key.revoke_time.map(render::time),
        last_used_time: key.last_used_time.map(render::time),
        create_principal: key.creator.clone(),
    }
}
