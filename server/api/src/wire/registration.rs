//! Registration of runners: what RunnerPoolService and RunnerService have of it.

use std::str::FromStr;

use freehold_domain::{Result, names::RunnerPoolName, registration::RegistrationToken};
use freehold_proto::runners::v1 as pb;
use freehold_service::registration::{self, CreateRegistrationToken, Register};
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, tokens, write};
use crate::status;

impl Wire {
    pub(super) async fn create_token(
        &self,
        request: Request<pb::CreateRegistrationTokenRequest>,
    ) -> Result<Response<pb::CreateRegistrationTokenResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, false, ""), create(&body))?;
            let (token, secret) = registration::create_token(&self.app, &caller, cmd, &write).await?;
            Ok(pb::CreateRegistrationTokenResponse { registration_token: Some(message(&token)), secret })
        })
        .await
    }

    pub(super) async fn list_tokens(
        &self,
        request: Request<pb::ListRegistrationTokensRequest>,
    ) -> Result<Response<pb::ListRegistrationTokensResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("registrationTokens|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<RunnerPoolName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = registration::list_tokens(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListRegistrationTokensResponse {
                registration_tokens: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    pub(super) async fn revoke_token(
        &self,
        request: Request<pb::RevokeRegistrationTokenRequest>,
    ) -> Result<Response<pb::RevokeRegistrationTokenResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, ""), parse::name("name", &body.name))?;
            let token = registration::revoke_token(&self.app, &caller, &name, &write).await?;
            Ok(pb::RevokeRegistrationTokenResponse { registration_token: Some(message(&token)) })
        })
        .await
    }

    pub(super) async fn remove_runner(
        &self,
        request: Request<pb::DeleteRunnerRequest>,
    ) -> Result<Response<pb::DeleteRunnerResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, ""), parse::name("name", &body.name))?;
            registration::delete_runner(&self.app, &caller, &name, &write).await?;
            Ok(pb::DeleteRunnerResponse {})
        })
        .await
    }

    pub(super) async fn register(
        &self,
        request: Request<pb::RegisterRunnerRequest>,
    ) -> Result<Response<pb::RegisterRunnerResponse>, Status> {
        let (_, extensions, body) = request.into_parts();
        let (_, call) = tokens::proven(&extensions)?;
        let request_id = call.request_id.clone();
        let joined = async { registration::register(&self.app, register(body)?, call).await };
        let (name, certificate) = joined.await.map_err(|error| status::render(&error, &request_id))?;
        let expire_time = Some(render::time(certificate.expire_time));
        Ok(Response::new(pb::RegisterRunnerResponse { name: name.to_string(), certificate: certificate.pem, expire_time }))
    }
}

fn create(body: &pb::CreateRegistrationTokenRequest) -> Result<CreateRegistrationToken> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    let end = body.expire_time.as_ref().ok_or_else(|| "required; at most 30 days ahead".to_owned());
    let expire_time = fields.check("expire_time", end.and_then(parse::time));
    fields.finish(|| Some(CreateRegistrationToken { parent: parent?, expire_time: expire_time? }))
}

fn register(body: pb::RegisterRunnerRequest) -> Result<Register> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    let runner = fields.text("runner_id", &body.runner_id);
    let token = fields.text::<Text>("token", &body.token);
    let certificate_request = fields.text::<Text>("certificate_request", &body.certificate_request);
    fields.finish(|| {
        Some(Register { token: token?.0, parent: parent?, runner: runner?, certificate_request: certificate_request?.0 })
    })
}

/// Text of any form that must be there.
struct Text(String);

impl FromStr for Text {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }
}

fn message(token: &RegistrationToken) -> pb::RegistrationToken {
    pb::RegistrationToken {
        name: token.name.to_string(),
        prefix: token.prefix.clone(),
        create_time: Some(render::time(token.create_time)),
        expire_time: Some(render::time(token.expire_time)),
        revoke_time: token.revoke_time.map(render::time),
        use_time: token.used.as_ref().map(|joined| render::time(joined.time)),
        runner: token.used.as_ref().map(|joined| joined.runner.to_string()).unwrap_or_default(),
        create_principal: token.creator.clone(),
    }
}
