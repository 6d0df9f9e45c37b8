//! TokenService.

use freehold_domain::{
    Error, Reason, Result,
    access::{CallFacts, Caller, Proof},
    time::Timestamp,
};
use freehold_proto::{Method, iam::v1 as pb};
use freehold_service::{
    sign_in::{self as service, SignedIn},
    tokens::{self, Ticket},
};
use http::Extensions;
use tonic::{Request, Response, Status};

use super::{
    Wire,
    identify::{certificate, facts},
    render,
    sign_in::Given,
};
use crate::{
    identity::RequestFacts,
    layers::{RequestId, TenantHeader, TraceId},
    peer::{Peer, SourceAddr},
    status,
    tokens::Claims,
};

#[tonic::async_trait]
impl pb::token_service_server::TokenService for Wire {
    async fn exchange_token(
        &self,
        request: Request<pb::ExchangeTokenRequest>,
    ) -> Result<Response<pb::ExchangeTokenResponse>, Status> {
        let (_, extensions, body) = request.into_parts();
        let (peer, call) = proven(&extensions)?;
        let request_id = call.request_id.clone();
        let exchanged = self.exchange(body, &extensions, peer, call).await;
        exchanged.map(Response::new).map_err(|error| status::render(&error, &request_id))
    }

    async fn get_sign_in_options(
        &self,
        request: Request<pb::GetSignInOptionsRequest>,
    ) -> Result<Response<pb::GetSignInOptionsResponse>, Status> {
        let (_, call) = proven(request.extensions())?;
        self.options().await.map(Response::new).map_err(|error| status::render(&error, &call.request_id))
    }

    async fn revoke_refresh_token(
        &self,
        request: Request<pb::RevokeRefreshTokenRequest>,
    ) -> Result<Response<pb::RevokeRefreshTokenResponse>, Status> {
        let (_, extensions, body) = request.into_parts();
        let (_, call) = proven(&extensions)?;
        let revoked = async {
            self.admit(&extensions)?;
            service::revoke(&self.app, &body.refresh_token).await
        };
        revoked.await.map_err(|error| status::render(&error, &call.request_id))?;
        Ok(Response::new(pb::RevokeRefreshTokenResponse {}))
    }

    async fn get_caller_identity(
        &self,
        request: Request<pb::GetCallerIdentityRequest>,
    ) -> Result<Response<pb::GetCallerIdentityResponse>, Status> {
        let now = self.app.now();
        self.serve(request, |caller, _| async move {
            Ok(pb::GetCallerIdentityResponse { caller_identity: Some(identity(&caller, now)) })
        })
        .await
    }
}

impl Wire {
    async fn exchange(
        &self,
        body: pb::ExchangeTokenRequest,
        extensions: &Extensions,
        peer: Option<Peer>,
        call: CallFacts,
    ) -> Result<pb::ExchangeTokenResponse> {
        let given = Given::read(body)?;
        if matches!(given, Given::Code(_) | Given::RefreshToken(_)) {
            self.admit(extensions)?;
        }
        let without = |ticket| SignedIn { ticket, refresh_token: None };
        let SignedIn { ticket, refresh_token } = match given {
            Given::ApiKey(secret) => without(tokens::for_key(&self.app, &secret, call).await?),
            Given::Code(code) => service::by_code(&self.app, code, call).await?,
            Given::RefreshToken(token) => service::by_refresh_token(&self.app, &token, call).await?,
            Given::Certificate => {
                let (spiffe_id, expire_time) = peer.as_ref().and_then(certificate).ok_or_else(nothing)?;
                without(tokens::for_certificate(&self.app, spiffe_id, expire_time, call).await?)
            }
        };
        let Ticket { principal, exchanged, token_id, issue_time, expire_time } = ticket;
        let token = self.tokens.issue(&Claims {
            principal: principal.to_string(),
            tenant: principal.tenant().map(|name| name.tenant.to_string()),
            exchanged: exchanged.map(|name| name.to_string()),
            certificate: peer.map(|peer| *peer.cert_sha256()),
            token_id: token_id.to_string(),
            issue_time,
            expire_time,
        })?;
        Ok(pb::ExchangeTokenResponse {
            token,
            expire_time: Some(render::time(expire_time)),
            principal: principal.to_string(),
            refresh_token: refresh_token.unwrap_or_default(),
        })
    }
}

/// The certificate of a call that needs no caller, and the facts of the call.
pub(super) fn proven(extensions: &Extensions) -> Result<(Option<Peer>, CallFacts), Status> {
    let request_id = extensions.get::<RequestId>().map(ToString::to_string).unwrap_or_default();
    let (Some(method), Some(source)) = (extensions.get::<&'static Method>(), extensions.get::<SourceAddr>()) else {
        return Err(status::render(&Error::internal("a call has not passed the layers"), &request_id));
    };
    let request = RequestFacts {
        request_id,
        trace_id: extensions.get::<TraceId>().map(|id| id.as_str().to_owned()).unwrap_or_default(),
        source_addr: source.0,
        tenant_header: extensions.get::<TenantHeader>().map(|header| header.0.clone()),
    };
    Ok((extensions.get::<Peer>().cloned(), facts(method, request)))
}

fn nothing() -> Error {
    Error::new(
        Reason::CredentialsMissing,
        "there is nothing to exchange: send an API key or a sign-in, or connect with a client certificate",
    )
}

fn identity(caller: &Caller, now: Timestamp) -> pb::CallerIdentity {
    let proof = match caller.proof {
        Proof::Certificate => pb::IdentityProof::Certificate,
        Proof::Token => pb::IdentityProof::Token,
        // Whoever is known by an account elsewhere calls nothing here.
        Proof::Account(_) => pb::IdentityProof::Unspecified,
    };
    let live = caller.grants.iter().filter(|grant| grant.expire_time.is_none_or(|end| now < end));
    let place = |resource: &str| if resource.is_empty() { "the installation".to_owned() } else { resource.to_owned() };
    pb::CallerIdentity {
        principal: caller.principal.to_string(),
        tenant: caller.principal.tenant().map(|name| name.to_string()).unwrap_or_default(),
        proof: proof.into(),
        spiffe_id: caller.spiffe_id.clone().unwrap_or_default(),
        expire_time: caller.expire_time.map(render::time),
        roles: live.map(|grant| format!("{} on {}", grant.role.name(), place(&grant.resource))).collect(),
    }
}
