//! Who is calling, and how people sign in.

use std::sync::Arc;

use freehold_proto::iam::v1 as pb;
use jiff::Timestamp;

use crate::{
    call::{Call, Core, request},
    wire::{Lift, resource, values},
};

resource! {
    /// Who is calling.
    CallerIdentity = pb::CallerIdentity {
        /// For example `platform/admin` or `tenants/acme/users/ada`.
        principal: String,
        /// The tenant it belongs to; absent for platform administrators.
        tenant: Option<String>,
        /// How it was proven.
        proof: IdentityProof,
        /// Identity of the client certificate, when there is one.
        spiffe_id: Option<String>,
        /// When the proof ends.
        expire_time: Option<Timestamp>,
        /// Its roles, each as `roles/{role} on {resource}`.
        roles: Vec<String>,
    }
}

values! {
    /// How an identity was proven.
    IdentityProof {
        /// By the client certificate.
        Certificate = 1 "CERTIFICATE",
        /// By a token of this server.
        Token = 2 "TOKEN",
    }
}

request! {
    /// The question who is calling; see [`Client::whoami`](crate::Client::whoami).
    GetCallerIdentity(pb::GetCallerIdentityRequest) -> CallerIdentity =
        "/freehold.iam.v1.TokenService/GetCallerIdentity", pb::GetCallerIdentityResponse { caller_identity }
}

impl GetCallerIdentity {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self { call: Call::new(core, pb::GetCallerIdentityRequest {}) }
    }
}

resource! {
    /// How people sign in by OpenID Connect: the request that a page begins with (code flow, PKCE with S256).
    SignInOptions = pb::SignInOptions {
        /// The identity provider, as its tokens name it.
        issuer: String,
        /// What the installation is to it.
        client_id: String,
        /// Where a browser is sent.
        authorization_endpoint: String,
        /// What to ask for.
        scopes: Vec<String>,
    }
}

request! {
    /// The question how people sign in; see [`Client::sign_in_options`](crate::Client::sign_in_options).
    GetSignInOptions(pb::GetSignInOptionsRequest) -> Option<SignInOptions> =
        "/freehold.iam.v1.TokenService/GetSignInOptions",
        |answer: pb::GetSignInOptionsResponse| Ok(answer.sign_in_options.lift())
}

impl GetSignInOptions {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self { call: Call::new(core, pb::GetSignInOptionsRequest {}) }
    }
}

request! {
    /// A sign-in to end; see [`Client::revoke_refresh_token`](crate::Client::revoke_refresh_token).
    RevokeRefreshToken(pb::RevokeRefreshTokenRequest) -> () =
        "/freehold.iam.v1.TokenService/RevokeRefreshToken", pb::RevokeRefreshTokenResponse {}
}

impl RevokeRefreshToken {
    pub(crate) fn new(core: &Arc<Core>, refresh_token: String) -> Self {
        Self { call: Call::new(core, pb::RevokeRefreshTokenRequest { refresh_token }) }
    }
}
