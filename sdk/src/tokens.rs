//! Who is calling.

use std::sync::Arc;

use freehold_proto::iam::v1 as pb;
use jiff::Timestamp;

use crate::{
    call::{Call, Core, request},
    wire::{resource, values},
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
